/**
 * Softmax cross-entropy against a target distribution per sample, averaged over the batch. A hard
 * label is a distribution with a single 1; smoothed labels and a teacher's outputs fit as well.
 *
 * loss = −1/N · Σ target · log softmax(logits); dlogits = (softmax(logits) − target) / N, which
 * holds because every target row sums to 1 (the caller's duty).
 *
 * Shapes: logits [N, classes], input `target` [N, classes], loss [], all float32.
 */
import type { Loss } from "../loss.ts";

export const crossEntropy: Loss = {
  name: "cross-entropy",
  build(write, output) {
    const target = "target";
    const batch = output.shape[0]!;
    const logProbabilities = write.emit("LogSoftmax", [output.name], { axis: { int: -1 } });
    const product = write.emit("Mul", [logProbabilities, target]);
    const total = write.emit("ReduceSum", [product], { keepdims: { int: 0 } });
    const loss = write.emit("Mul", [total, write.floats(-1 / batch, [])]);
    const difference = write.emit("Sub", [write.emit("Exp", [logProbabilities]), target]);
    const gradient = write.emit("Mul", [difference, write.floats(1 / batch, [])]);
    return { inputs: [{ name: target, shape: output.shape }], loss, gradient };
  },
};
