/**
 * How much noise int8 will add to what reads a part of a graph, foretold from ranges and weights: uint8
 * activations with one scale each, int8 weights with one scale per output channel.
 *
 * For a reader with weight W and input x, both already scaled by s, per output o, times what noise on o
 * weighs (`importance.ts`):
 * * activations: Δ²/12 · Σ_j W_oj² s_j², with Δ the step of each 8-bit value on the way to the reader;
 * * weights: Δ_o²/12 · Σ_j E[x_j²] / s_j², with Δ_o the step of row o.
 * The noise of a part is the sum over the outputs of its readers.
 *
 * Rounding noise is taken as uniform and independent (Widrow, Kollár, Quantization Noise, 2008, ch. 4).
 *
 * Invariant: multiplying all factors by one number changes nothing, and neither does scaling the row of an
 * output; so parts can be chosen one after the other.
 */
import { assert } from "../../../shared/assert.ts";
import type { ChannelRanges } from "./channel-ranges.ts";
import type { Component } from "./components.ts";
import { gainsOf, type WeighedLinear } from "./importance.ts";
import type { WeightTable } from "./linear-weight.ts";
import type { ScaleFlow } from "./scale-flow.ts";
import { channelAt, type LinearEdit, spreadOver } from "./scaled-value.ts";

/** Codes of uint8 less one, and of symmetric int8 on one side. */
const activationSteps = 255;
const weightSteps = 127;
/** Variance of rounding to whole steps, as a part of the squared step. */
const roundingVariance = 1 / 12;
/** Rows of a weight that are looked at; of more, every n-th is. */
const rowsMax = 512;

/** A value that becomes 8-bit. */
export interface ObservedValue {
  readonly name: string;
  /** Index in the part of each channel's variable. */
  readonly indices: Int32Array;
  readonly ranges: ChannelRanges;
}

export interface Reader {
  readonly table: WeightTable;
  /** Index in the part for each feature. */
  readonly features: Int32Array;
  /** E[x²] for each feature. */
  readonly meanSquares: Float64Array;
  readonly rows: readonly number[];
  /** What noise on each output weighs. */
  readonly importance: Float64Array;
  /** Σ_o W_oj² · importance_o for each feature. */
  readonly gains: Float64Array;
  /** The 8-bit values whose noise it reads. */
  readonly sources: readonly ObservedValue[];
}

/** All of a part that its noise depends on. */
export interface NoiseModel {
  readonly values: readonly ObservedValue[];
  readonly readers: readonly Reader[];
}

/** `ranges` holds at least the values that readers read; `quantized` names those that become 8-bit. */
export function noiseModel(
  flow: ScaleFlow,
  component: Component,
  weighed: ReadonlyMap<LinearEdit, WeighedLinear>,
  ranges: ReadonlyMap<string, ChannelRanges>,
  quantized: ReadonlySet<string>,
): NoiseModel {
  const values = component.values.flatMap((name): ObservedValue[] => {
    const observed = ranges.get(name);
    if (observed === undefined || !quantized.has(name)) return [];
    const indices = component.indicesOf(flow.values.get(name)!.variables);
    return [{ name, indices, ranges: observed }];
  });
  const order = new Map(component.values.map((name, at) => [name, at]));
  const readers = component.readers.map((edit) => {
    const at = order.get(edit.node.input(0))!;
    const before = values.filter(({ name }) => order.get(name)! <= at);
    return readerOf(component, edit, weighed.get(edit)!, ranges, before);
  });
  return { values, readers };
}

/** The noise with these factors, by index; without unit. */
export function noiseOf({ readers }: NoiseModel, factors: Float64Array): number {
  let sum = 0;
  for (const reader of readers) {
    sum += activationNoise(reader, factors) + weightNoise(reader, factors);
  }
  return sum;
}

function activationNoise({ sources, gains, features }: Reader, factors: Float64Array): number {
  let gain = 0;
  features.forEach((index, feature) => {
    gain += gains[feature]! * factors[index]! ** 2;
  });
  let steps = 0;
  for (const { indices, ranges } of sources) {
    let [min, max] = [0, 0];
    indices.forEach((index, channel) => {
      min = Math.min(min, ranges.min[channel]! / factors[index]!);
      max = Math.max(max, ranges.max[channel]! / factors[index]!);
    });
    steps += ((max - min) / activationSteps) ** 2;
  }
  return roundingVariance * steps * gain;
}

function weightNoise(reader: Reader, factors: Float64Array): number {
  const { table, features, meanSquares, rows, importance } = reader;
  const { outputs, perOutput, firstFeature, magnitudes, taps } = table;
  let noise = 0;
  for (const output of rows) {
    const first = firstFeature(output);
    let [largest, power] = [0, 0];
    for (let at = 0; at < perOutput; at++) {
      const factor = factors[features[first + at]!]!;
      largest = Math.max(largest, magnitudes[output * perOutput + at]! * factor);
      power += meanSquares[first + at]! / factor ** 2;
    }
    noise += (largest / weightSteps) ** 2 * power * taps * importance[output]!;
  }
  return (roundingVariance * noise * outputs) / rows.length;
}

function readerOf(
  component: Component,
  { node, input }: LinearEdit,
  weighed: WeighedLinear,
  ranges: ReadonlyMap<string, ChannelRanges>,
  sources: readonly ObservedValue[],
): Reader {
  const observed = ranges.get(node.input(0));
  assert(input !== undefined && observed !== undefined, `${node.input(0)} was not observed`);
  const { table, importance } = weighed;
  const meanSquares = Float64Array.from(
    { length: table.features },
    (_, feature) => observed.meanSquare[channelAt(input, feature, table.features)]!,
  );
  const stride = Math.ceil(table.outputs / rowsMax);
  const rowCount = Math.ceil(table.outputs / stride);
  return {
    table,
    features: component.indicesOf(spreadOver(input, table.features)),
    meanSquares,
    rows: Array.from({ length: rowCount }, (_, at) => at * stride),
    importance,
    gains: gainsOf(weighed),
    sources,
  };
}
