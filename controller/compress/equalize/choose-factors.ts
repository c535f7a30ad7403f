/**
 * Chooses the factors of one part by the noise that is foretold for them.
 *
 * Candidates are s = r^α / a^(1−α): r the range that a channel takes of the whole, a the largest share that
 * a column has in the rows which read it. α = 1 makes activations equal, α = 0 weights; SmoothQuant's
 * formula with ranges on both sides (Xiao et al., ICML 2023, eq. 4). From the best one the search starts
 * again until nothing gets better, so that a second run finds nothing to do.
 */
import type { Component } from "./components.ts";
import { type NoiseModel, noiseOf, type ObservedValue } from "./noise-model.ts";

/** From weights alone to activations alone. */
export const alphasDefault: readonly number[] = [0, 0.15, 0.3, 0.5, 0.7, 0.85, 1];

export interface ChoiceOptions {
  readonly alphas: readonly number[];
  /** Factors as whole multiples, up to this one, of the smallest step. Absent: any factor. */
  readonly multipleMax?: number;
}

export interface Choice {
  /** By index of the part; all 1 when nothing is gained. */
  readonly factors: Float64Array;
  /** Foretold noise over that without factors. */
  readonly noiseRatio: number;
}

const roundsMax = 10;
/** A round of the search that gains less than this share is the last one. */
const gainMin = 0.02;
/**
 * Foretold noise that is worth other weights, as a part of that without: 2 dB less. On ten trained networks
 * of the benchmark smaller promises did harm as often as good, and larger ones were kept.
 */
const noiseRatioMax = 10 ** -0.2;
/** No factor is larger or smaller than 1 by more: floats and int32 biases bear 2^8 either way. */
const logMax = 8;
/** A channel with less of the range than this is as good as silent. */
const shareMin = 2 ** -12;

export function chooseFactors(
  component: Component,
  model: NoiseModel,
  options: ChoiceOptions,
): Choice {
  let factors = new Float64Array(component.variables.length).fill(1);
  const before = noiseOf(model, factors);
  let noise = before;
  for (let round = 0; round < roundsMax; round++) {
    const candidates = candidatesFrom(component, model, factors, options);
    const best = candidates
      .map((candidate) => ({ candidate, noise: noiseOf(model, candidate) }))
      .reduce((one, other) => (other.noise < one.noise ? other : one));
    if (!(best.noise < noise * (1 - gainMin))) break;
    ({ candidate: factors, noise } = best);
  }
  if (!(noise <= before * noiseRatioMax)) return { factors: factors.fill(1), noiseRatio: 1 };
  return { factors, noiseRatio: noise / before };
}

function candidatesFrom(
  component: Component,
  model: NoiseModel,
  factors: Float64Array,
  options: ChoiceOptions,
): Float64Array<ArrayBuffer>[] {
  const read = new Set(model.readers.flatMap(({ sources }) => sources.at(-1) ?? []));
  const columns = columnShares(component, model, factors);
  return [model.values, [...read]].flatMap((values) => {
    const ranges = rangeShares(component, values, factors);
    return options.alphas.map((alpha) => {
      const raw = factors.map(
        (factor, at) => factor * ranges[at]! ** alpha * columns[at]! ** (alpha - 1),
      );
      return settled(component, raw, options);
    });
  });
}

/** The largest share of the range that each variable takes in one of the values, 1 for those in none. */
function rangeShares(
  component: Component,
  values: readonly ObservedValue[],
  factors: Float64Array,
): Float64Array {
  const shares = new Float64Array(component.variables.length);
  for (const { indices, ranges } of values) {
    const magnitudes = Float64Array.from(
      indices,
      (index, at) =>
        Math.max(Math.abs(ranges.min[at]!), Math.abs(ranges.max[at]!)) / factors[index]!,
    );
    const whole = magnitudes.reduce((one, other) => Math.max(one, other), 0);
    indices.forEach((index, at) => {
      const share = whole > 0 ? Math.max(magnitudes[at]! / whole, shareMin) : 1;
      shares[index] = Math.max(shares[index]!, share);
    });
  }
  return shares.map((share) => share || 1);
}

/** The largest share that each variable's column has of a row's maximum. */
function columnShares(
  component: Component,
  model: NoiseModel,
  factors: Float64Array,
): Float64Array {
  const shares = new Float64Array(component.variables.length);
  for (const { table, features, rows } of model.readers) {
    const { perOutput, firstFeature, magnitudes } = table;
    for (const output of rows) {
      const scaled = Float64Array.from(
        { length: perOutput },
        (_, at) =>
          magnitudes[output * perOutput + at]! * factors[features[firstFeature(output) + at]!]!,
      );
      const whole = scaled.reduce((one, other) => Math.max(one, other), 0);
      if (!(whole > 0)) continue;
      scaled.forEach((magnitude, at) => {
        const index = features[firstFeature(output) + at]!;
        shares[index] = Math.max(shares[index]!, magnitude / whole);
      });
    }
  }
  return shares.map((share) => Math.max(share, shareMin));
}

/** Centred on 1, kept within the span, pinned ones at 1, rounded to multiples where they must be. */
function settled(
  component: Component,
  raw: Float64Array,
  { multipleMax }: ChoiceOptions,
): Float64Array<ArrayBuffer> {
  const logs = raw.map((factor) => Math.log2(factor));
  const pinned = logs.filter((_log, index) => component.isPinned(index));
  const mean = (of: Float64Array): number => of.reduce((sum, each) => sum + each, 0) / of.length;
  // Pinned channels keep 1, so all others are put in proportion to them.
  const centre = mean(pinned.length > 0 ? pinned : logs);
  const factors = Float64Array.from(logs, (log, index) =>
    component.isPinned(index) ? 1 : 2 ** Math.min(Math.max(log - centre, -logMax), logMax),
  );
  return multipleMax === undefined ? factors : multiples(factors, multipleMax, pinned.length > 0);
}

/** With `holdsOne`, 1 is a multiple of the step. */
function multiples(
  factors: Float64Array<ArrayBuffer>,
  multipleMax: number,
  holdsOne: boolean,
): Float64Array<ArrayBuffer> {
  const step = factors.reduce((one, other) => Math.max(one, other)) / multipleMax;
  const used = holdsOne ? 1 / Math.max(Math.floor(1 / step), 1) : step;
  return factors.map((factor) => Math.max(Math.round(factor / used), 1) * used);
}
