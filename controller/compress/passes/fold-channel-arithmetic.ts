/**
 * Folds constant arithmetic per channel into the node in front: exporters write the bias of a
 * convolution as an Add of its own, and re-parametrised networks leave Mul and Add pairs behind.
 * onnxruntime does the same for float models, but not across QuantizeLinear.
 *
 * 1. W·x + b, then Mul by a constant: both are scaled.
 * 2. W·x + b, then Add of a constant, or Sub of one: the bias takes it.
 *
 * The constant has one value for all, or one per output channel ([C, 1, 1] or [1, C, 1, 1] behind a
 * Conv, [N] or [1, N] behind a Gemm).
 */
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import { counted, definePass, noOptions, reorderTolerance } from "../pass.ts";
import { channelConstant, foldInto, foldTarget, replaceOutput } from "./channel-affine.ts";

interface Affine {
  readonly factors: (constant: Float32Array) => Float32Array | undefined;
  readonly offsets: (constant: Float32Array) => Float32Array;
  readonly isCommutative: boolean;
}

const zeros = (like: Float32Array): Float32Array => new Float32Array(like.length);
const none = (): undefined => undefined;
const same = (constant: Float32Array): Float32Array => constant;

const arithmetic: Readonly<Record<string, Affine>> = {
  Mul: { factors: same, offsets: zeros, isCommutative: true },
  Add: { factors: none, offsets: same, isCommutative: true },
  Sub: {
    factors: none,
    offsets: (constant) => constant.map((value) => -value),
    isCommutative: false,
  },
};

export const foldChannelArithmetic = definePass({
  name: "fold-channel-arithmetic",
  summary: "Folds constant factors and offsets per channel into the weights before them.",
  options: noOptions,
  tolerance: reorderTolerance,
  run(_context, model) {
    const { graph } = model;
    let folded = 0;
    for (const node of graph.sortedNodes()) {
      const affine = node.domain === "" ? arithmetic[node.opType] : undefined;
      if (affine !== undefined && fold(graph, node, affine)) folded++;
    }
    return counted("folded", folded);
  },
});

function fold(graph: Graph, node: Node, affine: Affine): boolean {
  const orders = affine.isCommutative ? [[0, 1] as const, [1, 0] as const] : [[0, 1] as const];
  for (const [valueAt, constantAt] of orders) {
    const target = foldTarget(graph, node.input(valueAt), node);
    if (target === undefined) continue;
    const constant = channelConstant(graph, node.input(constantAt), target);
    if (constant === undefined) continue;
    const factors = affine.factors(constant);
    if (factors === undefined && target.fact.bias === undefined) continue;
    foldInto(graph, target, factors, affine.offsets(constant));
    replaceOutput(graph, target, node);
    return true;
  }
  return false;
}
