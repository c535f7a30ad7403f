/**
 * What calibration keeps of the values of a tensor: its extremes and a histogram, never the values
 * themselves. That is all that leaves a device which calibrates on its own data, and statistics of
 * several devices merge into those of all of them.
 *
 * Two passes over the data (Wu et al. 2020, "Integer Quantization for Deep Learning Inference", §4):
 * the first one finds the extremes, from which the grid of each histogram is agreed; the second one
 * counts. Memory is bounded by bins and tensors, not by samples.
 *
 * Invariants: all values are finite; histograms merge only on the same grid.
 */
import { decode, encode } from "cborg";
import { z } from "zod";
import { FleetError } from "../errors.ts";

/** Bins of every histogram: 16 for each code of 8 bits when nothing is clipped. */
export const histogramBins = 4096;

/** Bounds of one encoded table: a model of 10,000 tensors with full histograms stays below it. */
const tableBytesMax = 512 * 2 ** 20;
const tensorsMax = 100_000;
const nameLengthMax = 4096;

const number = z.number();
const rangeSchema = z.object({ min: number, max: number });

/** Both ends are reached. */
export type ValueRange = Readonly<z.infer<typeof rangeSchema>>;

const extremesSchema = z.object({
  samples: z.int().min(1),
  /** The least and the largest value of all. */
  full: rangeSchema,
  /** Each sample's extremes, averaged: by m += 0.01 · (new − m), and plainly. */
  moving: rangeSchema,
  mean: rangeSchema,
});

export type Extremes = Readonly<z.infer<typeof extremesSchema>>;

const histogramSchema = z.object({
  /** The grid: equal bins from `min` to `max`; values beyond it are counted in the outer bins. */
  min: number,
  max: number,
  counts: z
    .array(z.number().min(0))
    .length(histogramBins)
    .transform((counts) => Float64Array.from(counts)),
});

export type Histogram = Readonly<z.output<typeof histogramSchema>>;

const name = z.string().max(nameLengthMax);
const extremesTable = z.map(name, extremesSchema);
const histogramTable = z.map(name, histogramSchema);

/** By value name. */
export type ExtremesTable = ReadonlyMap<string, Extremes>;
export type HistogramTable = ReadonlyMap<string, Histogram>;

/** Extremes of both together. Averages are weighed by samples, since devices have no order. */
export function mergeExtremes(a: Extremes, b: Extremes): Extremes {
  const samples = a.samples + b.samples;
  const weighed = (x: number, y: number): number => (x * a.samples + y * b.samples) / samples;
  const average = (x: ValueRange, y: ValueRange): ValueRange => ({
    min: weighed(x.min, y.min),
    max: weighed(x.max, y.max),
  });
  return {
    samples,
    full: { min: Math.min(a.full.min, b.full.min), max: Math.max(a.full.max, b.full.max) },
    moving: average(a.moving, b.moving),
    mean: average(a.mean, b.mean),
  };
}

/** Counts of both together. Errors: `calibration-failed` when their grids differ. */
export function mergeHistograms(a: Histogram, b: Histogram): Histogram {
  if (a.min !== b.min || a.max !== b.max) {
    throw new FleetError(
      "calibration-failed",
      `histograms over ${a.min} to ${a.max} and over ${b.min} to ${b.max} cannot be merged: count both on the grid of the merged extremes`,
    );
  }
  return { ...a, counts: a.counts.map((count, bin) => count + b.counts[bin]!) };
}

/** A table of all names of both; what both have is merged. */
export function mergeTables<T>(
  a: ReadonlyMap<string, T>,
  b: ReadonlyMap<string, T>,
  merge: (a: T, b: T) => T,
): Map<string, T> {
  const merged = new Map(a);
  for (const [key, value] of b) {
    const known = merged.get(key);
    merged.set(key, known === undefined ? value : merge(known, value));
  }
  return merged;
}

export function encodeExtremes(table: ExtremesTable): Uint8Array {
  return encode(new Map(table));
}

export function encodeHistograms(table: HistogramTable): Uint8Array {
  const plain = [...table].map(([key, histogram]): [string, unknown] => [
    key,
    { ...histogram, counts: Array.from(histogram.counts) },
  ]);
  return encode(new Map(plain));
}

/** Errors: `calibration-failed`. */
export function decodeExtremes(bytes: Uint8Array): ExtremesTable {
  return parse(extremesTable, bytes);
}

/** Errors: `calibration-failed`. */
export function decodeHistograms(bytes: Uint8Array): HistogramTable {
  return parse(histogramTable, bytes);
}

function parse<T extends z.ZodType>(schema: T, bytes: Uint8Array): z.output<T> {
  try {
    if (bytes.byteLength > tableBytesMax) throw new RangeError("it is too long");
    const table = decode(bytes, { useMaps: true, strict: true, allowNaN: false });
    if (!(table instanceof Map) || table.size > tensorsMax) throw new RangeError("it is no table");
    const entries = [...table].map(([key, value]) => [key, objectOf(value)] as const);
    return schema.parse(new Map(entries));
  } catch (cause) {
    throw new FleetError("calibration-failed", "a calibration table is damaged: calibrate again", {
      cause,
    });
  }
}

/** Maps with names as keys, which is how nested objects are decoded beside a map of any names. */
function objectOf(value: unknown): unknown {
  if (!(value instanceof Map)) return value;
  return Object.fromEntries([...value].map(([key, inner]) => [String(key), objectOf(inner)]));
}
