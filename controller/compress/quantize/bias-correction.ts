/**
 * Takes the mean of the quantization error out of each output channel: the bias grows by
 * E[float] - E[quantized] of what the layer yields before its activation.
 *
 * 1. The layers go by levels: those of one level do not depend on each other. Each level is observed
 *    behind the corrected ones before it, so a shift that an earlier layer has healed is not healed
 *    again. (Correcting all at once diverges: the same shift is then corrected in every later layer.)
 * 2. A shift is drawn towards 0 by its standard error over the samples (James and Stein's positive
 *    part), so that few samples do no harm, and left out where it passes `shareMax` of the layer's
 *    output: so much is not a mean error but a layer gone wrong. (The channel's own spread is no
 *    measure: behind a global average it is small where shifts matter most.)
 *
 * Bias int32 [channels] with scales float32 per channel or one for all; only the bias codes change.
 * The quantized model runs with its float kernels between the pairs, which gives the numbers of the
 * integer kernels but for rounding.
 *
 * Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
 * Correction", section 4.2 (empirical form); Finkelstein et al. 2019, "Fighting Quantization Bias With
 * Bias".
 */
import type { Model } from "../../onnx/model.ts";
import type { Node } from "../../onnx/node.ts";
import { factOf } from "../../onnx/ops/registry.ts";
import { makeTensor, tensorDataAs, tensorShape } from "../../onnx/tensor.ts";
import type { Workbench } from "../execute.ts";
import { type ChanneledValue, type ChannelMeans, observeMeans } from "./channel-means.ts";
import { clamp, roundHalfEven } from "./scale.ts";

/** Largest shift, as a share of the root mean square of what the float layer yields. */
const shareMax = 1;

const int32 = { min: -(2 ** 31), max: 2 ** 31 - 1 };

/** A layer of the quantized model whose bias may be changed. */
export interface CorrectableLayer {
  /** In the quantized model. */
  readonly node: Node;
  /** The value in the float model that the node's first output stands for. */
  readonly floatOutput: string;
  readonly bias: {
    /** Name of the int32 initializer in the quantized model. */
    readonly initializer: string;
    readonly scales: Float32Array;
  };
}

/** Lines of a pass's report. */
export type CorrectionReport = {
  readonly correctedLayers: number;
  /** Channels whose bias changed, and those whose shift was too large to believe. */
  readonly correctedChannels: number;
  readonly skippedChannels: number;
  /** How often a model ran on a sample. */
  readonly correctionRuns: number;
};

export interface CorrectBiasesOptions {
  readonly float: Model;
  /** Its bias initializers are replaced. */
  readonly quantized: Model;
  readonly layers: readonly CorrectableLayer[];
  readonly workbench: Workbench;
  readonly signal?: AbortSignal | undefined;
}

/** Throws `calibration-failed` when there are no samples or outputs are not finite. */
export async function correctBiases(options: CorrectBiasesOptions): Promise<CorrectionReport> {
  const { float, quantized, layers } = options;
  const floats = layers.map((layer) => channeled(layer, layer.floatOutput));
  const expected = await observeMeans(float, floats, options);
  const wantedOf = new Map(layers.map((layer, at) => [layer, expected.means[at]!]));
  const levels = levelsOf(quantized, layers);
  let [correctedChannels, skippedChannels, correctionRuns] = [0, 0, expected.samples];
  for (const level of levels) {
    const outputs = level.map((layer) => channeled(layer, layer.node.output(0)));
    const actual = await observeMeans(quantized, outputs, options);
    correctionRuns += actual.samples;
    for (const [at, layer] of level.entries()) {
      const wanted = wantedOf.get(layer)!;
      const shifts = shiftsOf(wanted, actual.means[at]!);
      const done = shiftBias(quantized, layer, shifts, shareMax * wanted.rootMeanSquare());
      correctedChannels += done.corrected;
      skippedChannels += done.skipped;
    }
  }
  return { correctedLayers: layers.length, correctedChannels, skippedChannels, correctionRuns };
}

/** Layers by how many others lie before them, nearest to the input first. */
function levelsOf(model: Model, layers: readonly CorrectableLayer[]): CorrectableLayer[][] {
  const { graph } = model;
  const layerOf = new Map(layers.map((layer) => [layer.node, layer]));
  const depths = new Map<string, number>();
  const levels: CorrectableLayer[][] = [];
  for (const node of graph.sortedNodes()) {
    const reads = [...node.inputs, ...node.captured];
    const depth = Math.max(0, ...reads.map((name) => depths.get(name) ?? 0));
    const layer = layerOf.get(node);
    if (layer !== undefined) {
      levels[depth] ??= [];
      levels[depth].push(layer);
    }
    for (const name of node.outputs) depths.set(name, layer === undefined ? depth : depth + 1);
  }
  return levels;
}

/** A value that a layer reads or yields, with the axis on which such a layer has its channels. */
export function channeled({ node }: CorrectableLayer, name: string): ChanneledValue {
  return { name, channelsLast: factOf(node)?.weight?.channelsLast === true };
}

/** By how much each channel's bias has to grow; both saw the same samples. */
function shiftsOf(expected: ChannelMeans, actual: ChannelMeans): Float64Array {
  const samples = expected.bySample.length;
  return expected.bySample[0]!.map((_, channel) => {
    const errors = expected.bySample.map(
      (means, sample) => means[channel]! - actual.bySample[sample]![channel]!,
    );
    const mean = errors.reduce((sum, error) => sum + error, 0) / samples;
    const spread = errors.reduce((sum, error) => sum + (error - mean) ** 2, 0);
    // Squared standard error; one sample says nothing of it and is taken at its word.
    const doubt = samples > 1 ? spread / (samples - 1) / samples : 0;
    return mean === 0 ? 0 : mean * Math.max(0, 1 - doubt / mean ** 2);
  });
}

/** Adds to the bias of a layer, but where a shift is larger than `shiftMax`. Counts channels. */
export function shiftBias(
  model: Model,
  { bias }: CorrectableLayer,
  shifts: Float64Array,
  shiftMax = Number.POSITIVE_INFINITY,
): { corrected: number; skipped: number } {
  const tensor = model.graph.constant(bias.initializer)!;
  const before = tensorDataAs(tensor, "int32");
  let skipped = 0;
  const codes = before.map((code, channel) => {
    const shift = shifts[channel]!;
    if (Math.abs(shift) > shiftMax) {
      skipped++;
      return code;
    }
    const scale = bias.scales[bias.scales.length === 1 ? 0 : channel]!;
    return clamp(code + roundHalfEven(shift / scale), int32);
  });
  const shape = tensorShape(tensor);
  model.graph.setInitializer(
    makeTensor({ name: bias.initializer, type: "int32", shape, data: codes }),
  );
  const corrected = codes.filter((code, channel) => code !== before[channel]).length;
  return { corrected, skipped };
}
