/**
 * Replaces mean and variance [C] of BatchNormalization by those of its input on calibration data, in
 * topological order, each behind the ones that were replaced before it.
 *
 * Only nodes in inference form with constant parameters; statistics within a hundredth of a deviation stay.
 * Source: ONNX opset 15 BatchNormalization; Li et al., arXiv 1603.04779.
 */
import type { Graph } from "../../onnx/graph.ts";
import type { Model } from "../../onnx/model.ts";
import type { Node } from "../../onnx/node.ts";
import { valueRanks } from "../../onnx/ranks.ts";
import { tensorFloats } from "../../onnx/tensor.ts";
import { prefixModel } from "../calibration/prefix-model.ts";
import type { Workbench } from "../execute.ts";
import { replaceConstant } from "./apply-factors.ts";
import { observeChannels } from "./channel-ranges.ts";
import { type ChannelStatistics, statisticsOf } from "./channel-statistics.ts";
import { differs } from "./normalise-channels.ts";

const [meanInput, varianceInput] = [3, 4];

/** Edits the model; returns how many nodes were given other statistics. */
export async function reEstimateBatchNorms(options: {
  readonly model: Model;
  readonly workbench: Workbench;
  readonly signal?: AbortSignal | undefined;
}): Promise<number> {
  const { graph } = options.model;
  const ranks = valueRanks(graph);
  let replaced = 0;
  for (const node of graph.sortedNodes()) {
    const recorded = statisticsIn(graph, node);
    const rank = ranks.get(node.input(0));
    if (recorded === undefined || rank === undefined) continue;
    const name = node.input(0);
    const variables = Int32Array.from(recorded.mean, (_, channel) => channel);
    const values = new Map([[name, { variables, axisFromEnd: rank - 1, spread: "none" } as const]]);
    // A graph input is there without running anything, but the runtime runs no empty model.
    const model = graph.isInput(name) ? options.model : prefixModel(options.model, [name]);
    const ranges = await observeChannels({ ...options, model, values });
    const now = statisticsOf(ranges.get(name)!);
    if (!differs(now, recorded)) continue;
    const channels = [now.mean.length];
    replaceConstant(graph, node, meanInput, channels, now.mean);
    const variance = now.deviation.map((deviation) => deviation ** 2);
    replaceConstant(graph, node, varianceInput, channels, variance);
    replaced++;
  }
  return replaced;
}

function statisticsIn(graph: Graph, node: Node): ChannelStatistics | undefined {
  if (!node.is("BatchNormalization") || node.int("training_mode", 0) !== 0) return undefined;
  const [mean, variance] = [meanInput, varianceInput].map((at) => {
    const tensor = graph.constant(node.input(at));
    return tensor === undefined ? undefined : tensorFloats(tensor);
  });
  if (mean === undefined || variance === undefined) return undefined;
  return { mean, deviation: variance.map((value) => Math.sqrt(Math.max(value, 0))) };
}
