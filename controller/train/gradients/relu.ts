/** Relu: the gradient passes where the output is above zero; there Sign is 1, elsewhere 0. */
import type { GradientRule } from "../gradient-rule.ts";

export const reluGradient: GradientRule = {
  opType: "Relu",
  weightInputs: [],
  backward: ({ node, write, outputGradient }) => [
    write.emit("Mul", [outputGradient, write.emit("Sign", [node.outputs[0]!])]),
  ],
};
