/** Softmax (opset 13, one axis): dx = y · (g − Σ g·y over the axis). */
import type { GradientRule } from "../gradient-rule.ts";

export const softmaxGradient: GradientRule = {
  opType: "Softmax",
  weightInputs: [],
  backward({ node, write, outputGradient }) {
    const y = node.outputs[0]!;
    const axis = write.ints([node.int("axis", -1)]);
    const weighted = write.emit("Mul", [outputGradient, y]);
    const total = write.emit("ReduceSum", [weighted, axis], { keepdims: { int: 1 } });
    return [write.emit("Mul", [y, write.emit("Sub", [outputGradient, total])])];
  },
};
