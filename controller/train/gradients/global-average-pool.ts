/** GlobalAveragePool: every place of a channel receives the same share of the gradient. */
import type { GradientRule } from "../gradient-rule.ts";

export const globalAveragePoolGradient: GradientRule = {
  opType: "GlobalAveragePool",
  weightInputs: [],
  backward({ node, write, outputGradient }) {
    const spatial = write.shapeOf(node.inputs[0]!).slice(2);
    const places = spatial.reduce((product, size) => product * size, 1);
    // A full-size factor broadcasts the gradient over the places while it scales it.
    return [write.emit("Mul", [outputGradient, write.floats(1 / places, [1, 1, ...spatial])])];
  },
};
