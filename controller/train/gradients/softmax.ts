/** Softmax and LogSoftmax (opset 13, one axis); Σ is over the axis. */
import type { GradientRule } from "../gradient-rule.ts";

/** dx = y · (g − Σ g·y) */
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

/** dx = g − exp(y) · Σ g */
export const logSoftmaxGradient: GradientRule = {
  opType: "LogSoftmax",
  weightInputs: [],
  backward({ node, write, outputGradient }) {
    const axis = write.ints([node.int("axis", -1)]);
    const total = write.emit("ReduceSum", [outputGradient, axis], { keepdims: { int: 1 } });
    const probabilities = write.emit("Exp", [node.outputs[0]!]);
    const shared = write.emit("Mul", [probabilities, total]);
    return [write.emit("Sub", [outputGradient, shared])];
  },
};
