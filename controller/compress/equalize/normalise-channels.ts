/**
 * Gives the channels that linear nodes make a mean and a deviation: y' = (y − μ)·σ₀/σ + μ₀, written into
 * the weight [as its operator lays it out] and the bias [channels], float32.
 *
 * Layer by layer in topological order, each observed behind the corrected ones: all at once diverges, as
 * every correction would be made for inputs that the others change. The model is cut at each layer, so a
 * layer costs what leads up to it.
 */
import type { Graph } from "../../onnx/graph.ts";
import type { Model } from "../../onnx/model.ts";
import { floatTensor, tensorFloats, tensorShape } from "../../onnx/tensor.ts";
import { prefixModel } from "../calibration/prefix-model.ts";
import type { Workbench } from "../execute.ts";
import { forEachChannel } from "../quantize/scale.ts";
import { replaceConstant } from "./apply-factors.ts";
import { observeChannels } from "./channel-ranges.ts";
import { type ChannelStatistics, statisticsOf } from "./channel-statistics.ts";
import type { ScaleFlow } from "./scale-flow.ts";
import type { LinearEdit, ScaledValue } from "./scaled-value.ts";

/** A mean that is off by less of the deviation, or a deviation by less of itself, is right. */
const offMin = 0.01;
/** A channel is stretched or shrunk by no more: what fell silent cannot be made to speak. */
const stretchMax = 4;

export interface NormaliseOptions {
  readonly model: Model;
  readonly flow: ScaleFlow;
  readonly wanted: ReadonlyMap<string, ChannelStatistics>;
  readonly workbench: Workbench;
  readonly signal?: AbortSignal | undefined;
}

/** Values that linear nodes make and that have a bias, or room for one. */
export function madeByLinears(flow: ScaleFlow): Map<string, ScaledValue> {
  return new Map(
    flow.linears.flatMap(({ node, fact, output }): [string, ScaledValue][] =>
      output === undefined || fact.bias === undefined ? [] : [[node.output(0), output]],
    ),
  );
}

/** Edits the model; returns how many layers were corrected. Throws what `observeChannels` throws. */
export async function normaliseChannels(options: NormaliseOptions): Promise<number> {
  const { model, flow, wanted } = options;
  const edits = flow.linears.filter(({ node, output, fact }) => {
    const statistics = wanted.get(node.output(0));
    return fact.bias !== undefined && statistics?.mean.length === output?.variables.length;
  });
  // Mostly nothing is off: one run over the whole model tells.
  const made = new Map(edits.map(({ node, output }) => [node.output(0), output!]));
  if (made.size === 0) return 0;
  const observed = await observeChannels({ ...options, values: made });
  const isOff = (name: string, ranges = observed): boolean =>
    differs(statisticsOf(ranges.get(name)!), wanted.get(name)!);
  const first = edits.findIndex(({ node }) => isOff(node.output(0)));
  if (first < 0) return 0;
  let corrected = 0;
  for (const edit of edits.slice(first)) {
    const name = edit.node.output(0);
    const values = new Map([[name, edit.output!]]);
    const ranges = await observeChannels({ ...options, model: prefixModel(model, [name]), values });
    if (!isOff(name, ranges)) continue;
    correct(model.graph, edit, statisticsOf(ranges.get(name)!), wanted.get(name)!);
    corrected++;
  }
  return corrected;
}

/** Whether any channel is off. */
export function differs(now: ChannelStatistics, wanted: ChannelStatistics): boolean {
  return wanted.mean.some((mean, channel) => {
    const deviation = wanted.deviation[channel]!;
    return (
      Math.abs(now.mean[channel]! - mean) > offMin * deviation ||
      Math.abs(now.deviation[channel]! - deviation) > offMin * deviation
    );
  });
}

function correct(
  graph: Graph,
  { node, fact, layout }: LinearEdit,
  now: ChannelStatistics,
  wanted: ChannelStatistics,
): void {
  const stretch = Float64Array.from(now.deviation, (deviation, channel) => {
    const ratio = wanted.deviation[channel]! / deviation;
    return ratio <= stretchMax && ratio >= 1 / stretchMax ? ratio : 1;
  });
  const weight = graph.constant(node.input(fact.input))!;
  const values = tensorFloats(weight).slice();
  forEachChannel(layout, (channel, index) => {
    values[index]! *= stretch[channel]!;
  });
  replaceConstant(graph, node, fact.input, tensorShape(weight), values);
  const old = node.input(fact.bias!);
  const given = old === "" ? undefined : tensorFloats(graph.constant(old)!);
  const bias = Float32Array.from(
    stretch,
    (ratio, channel) =>
      ((given?.[channel] ?? 0) - now.mean[channel]!) * ratio + wanted.mean[channel]!,
  );
  if (old !== "") {
    replaceConstant(graph, node, fact.bias!, [bias.length], bias);
    return;
  }
  const name = graph.setInitializer(
    floatTensor(graph.uniqueName(`${node.output(0)}_bias`), [bias.length], bias),
  );
  graph.setInput(node, fact.bias!, name);
}
