/** Tanh: dx = g · (1 − y²). */
import type { GradientRule } from "../gradient-rule.ts";

export const tanhGradient: GradientRule = {
  opType: "Tanh",
  weightInputs: [],
  backward({ node, write, outputGradient }) {
    const y = node.outputs[0]!;
    const slope = write.emit("Sub", [write.floats(1, []), write.emit("Mul", [y, y])]);
    return [write.emit("Mul", [outputGradient, slope])];
  },
};
