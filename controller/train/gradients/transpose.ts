/** Transpose: the gradient is transposed by the inverse permutation (default: axes reversed). */
import type { GradientRule } from "../gradient-rule.ts";

export const transposeGradient: GradientRule = {
  opType: "Transpose",
  weightInputs: [],
  backward({ node, write, outputGradient }) {
    const axes = write.shapeOf(node.inputs[0]!).map((_, axis) => axis);
    const perm = node.ints("perm", axes.toReversed());
    const inverse = axes.map((axis) => perm.indexOf(axis));
    return [write.emit("Transpose", [outputGradient], { perm: { ints: inverse } })];
  },
};
