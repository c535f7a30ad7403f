/**
 * Gemm (opset 11, 13): y = alpha · A' · B' + beta · C, where A' is A or its transpose.
 * With g = dL/dy: dA' = alpha · g · B'ᵀ, dB' = alpha · A'ᵀ · g, dC = beta · g summed to C's shape.
 *
 * Shapes: A' [N, K], B' [K, M], C broadcasts to [N, M], y [N, M], all float32.
 */
import type { GradientRule } from "../gradient-rule.ts";
import { sumToShape } from "./broadcast.ts";

export const gemmGradient: GradientRule = {
  opType: "Gemm",
  weightInputs: [1, 2],
  backward({ node, write, outputGradient: g, wants }) {
    const [a, b, c] = node.inputs as [string, string, string | undefined];
    const transA = node.int("transA", 0);
    const transB = node.int("transB", 0);
    const alpha = node.float("alpha", 1);
    const beta = node.float("beta", 1);
    const product = (left: string, right: string, leftFlag: number, rightFlag: number): string =>
      write.emit("Gemm", [left, right], {
        alpha: { float: alpha },
        transA: { int: leftFlag },
        transB: { int: rightFlag },
      });
    const gradientOfC = (name: string): string => {
      const scaled = beta === 1 ? g : write.emit("Mul", [g, write.floats(beta, [])]);
      return sumToShape(write, scaled, write.shapeOf(node.outputs[0]!), write.shapeOf(name));
    };
    return [
      wants(0)
        ? transA === 0
          ? product(g, b, 0, 1 - transB)
          : product(b, g, transB, 1)
        : undefined,
      wants(1)
        ? transB === 0
          ? product(a, g, 1 - transA, 0)
          : product(g, a, 1, transA)
        : undefined,
      wants(2) && c ? gradientOfC(c) : undefined,
    ];
  },
};
