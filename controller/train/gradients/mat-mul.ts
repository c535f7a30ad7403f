/**
 * MatMul with operands of rank 2 and more: dA = g · Bᵀ, dB = Aᵀ · g, each summed over batch axes
 * that were broadcast (NumPy matmul rules).
 */
import { type GradientRule, type GraphWriter, unsupportedForm } from "../gradient-rule.ts";
import { sumToShape } from "./broadcast.ts";

function transposeLastTwo(write: GraphWriter, value: string, rank: number): string {
  const axes = Array.from({ length: rank }, (_, axis) => axis);
  const perm = [...axes.slice(0, -2), rank - 1, rank - 2];
  return write.emit("Transpose", [value], { perm: { ints: perm } });
}

export const matMulGradient: GradientRule = {
  opType: "MatMul",
  weightInputs: [0, 1],
  backward({ node, write, outputGradient, wants }) {
    const [a, b] = node.inputs as [string, string];
    const shapeA = write.shapeOf(a);
    const shapeB = write.shapeOf(b);
    if (shapeA.length < 2 || shapeB.length < 2)
      throw unsupportedForm(node, "an operand is a vector");
    const batch = write.shapeOf(node.outputs[0]!).slice(0, -2);
    const gradientOfA = (): string => {
      const product = write.emit("MatMul", [
        outputGradient,
        transposeLastTwo(write, b, shapeB.length),
      ]);
      return sumToShape(write, product, [...batch, ...shapeA.slice(-2)], shapeA);
    };
    const gradientOfB = (): string => {
      const product = write.emit("MatMul", [
        transposeLastTwo(write, a, shapeA.length),
        outputGradient,
      ]);
      return sumToShape(write, product, [...batch, ...shapeB.slice(-2)], shapeB);
    };
    return [wants(0) ? gradientOfA() : undefined, wants(1) ? gradientOfB() : undefined];
  },
};
