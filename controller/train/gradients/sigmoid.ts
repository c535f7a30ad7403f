/** Sigmoid: dx = g · y · (1 − y). */
import type { GradientRule } from "../gradient-rule.ts";

export const sigmoidGradient: GradientRule = {
  opType: "Sigmoid",
  weightInputs: [],
  backward({ node, write, outputGradient }) {
    const y = node.outputs[0]!;
    const slope = write.emit("Mul", [y, write.emit("Sub", [write.floats(1, []), y])]);
    return [write.emit("Mul", [outputGradient, slope])];
  },
};
