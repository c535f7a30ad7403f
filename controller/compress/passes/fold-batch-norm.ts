/**
 * Folds BatchNormalization at inference into the Conv, ConvTranspose or Gemm in front of it.
 *
 * weight: float32, channels as its operator lays them out; gamma, beta, mean, variance: [channels]
 * float32, constant. f = gamma / sqrt(variance + epsilon); W' = W·f; b' = (b − mean)·f + beta.
 * Source: ONNX opset 9 to 15 BatchNormalization, inference form.
 */
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import { tensorFloats } from "../../onnx/tensor.ts";
import { counted, definePass, noOptions, reorderTolerance } from "../pass.ts";
import { foldInto, foldTarget, replaceOutput } from "./channel-affine.ts";

/** ONNX BatchNormalization, attribute epsilon. */
const epsilonDefault = 1e-5;

export const foldBatchNorm = definePass({
  name: "fold-batch-norm",
  summary: "Folds batch normalisation into the weights before it.",
  options: noOptions,
  tolerance: reorderTolerance,
  run(_context, model) {
    const { graph } = model;
    let folded = 0;
    let left = 0;
    for (const node of graph.sortedNodes()) {
      if (!node.is("BatchNormalization")) continue;
      if (fold(graph, node)) folded++;
      else left++;
    }
    return counted("folded", folded, { left });
  },
});

function fold(graph: Graph, node: Node): boolean {
  if (node.int("training_mode", 0) !== 0) return false;
  if (node.outputs.slice(1).some((name) => name !== "" && graph.consumersOf(name).length > 0)) {
    return false;
  }
  const target = foldTarget(graph, node.input(0), node);
  if (target?.fact.bias === undefined) return false;
  const [gamma, beta, mean, variance] = [1, 2, 3, 4].map((index) => {
    const tensor = graph.constant(node.input(index));
    return tensor === undefined ? undefined : tensorFloats(tensor);
  });
  if (!gamma || !beta || !mean || !variance || gamma.length !== target.channels) return false;
  const epsilon = node.float("epsilon", epsilonDefault);
  const factors = gamma.map((value, channel) => value / Math.sqrt(variance[channel]! + epsilon));
  const offsets = beta.map((value, channel) => value - mean[channel]! * factors[channel]!);
  foldInto(graph, target, factors, offsets);
  replaceOutput(graph, target, node);
  return true;
}
