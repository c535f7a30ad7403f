/**
 * Clip (opset 11 and later, bounds as inputs): the gradient passes where the value was not clipped,
 * that is where output and input are equal.
 */
import type { GradientRule } from "../gradient-rule.ts";

export const clipGradient: GradientRule = {
  opType: "Clip",
  weightInputs: [],
  backward({ node, write, outputGradient }) {
    const same = write.emit("Equal", [node.inputs[0]!, node.outputs[0]!]);
    return [write.emit("Where", [same, outputGradient, write.floats(0, [])])];
  },
};
