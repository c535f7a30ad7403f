/**
 * What an operator asks of a quantized model against its source, on held-out samples: in all, and in each
 * slice that the golden set names. Without labels the outputs' likeness stands in.
 */
import { z } from "zod";

export const floorOptions = {
  /** Largest rise of the mean loss, 0 to 1: of the share of wrong answers where classes are judged. */
  metricDropMax: z.number().min(0).max(1).default(0.005),
  /** The same within each slice. */
  sliceDropMax: z.number().min(0).max(1).default(0.02),
  /** Lowest signal-to-noise ratio of the outputs; the floor where samples have no labels. */
  decibelMin: z.number().min(0).max(140).default(25),
};

export type Floor = z.output<z.ZodObject<typeof floorOptions>>;

export interface Judged {
  /** Loss per sample; absent without labels. */
  readonly losses: Float64Array | undefined;
  /** Slice per sample; absent without slices. */
  readonly slices: readonly string[] | undefined;
  /** Signal-to-noise ratio of all outputs together. */
  readonly decibel: number;
}

/** A slice of fewer samples says too little to hold a floor. */
const sliceSamplesMin = 20;

/** What is missed, in words; empty when the floor is met. */
export function missesOf(
  floor: Floor,
  candidate: Judged,
  sourceLosses: Float64Array | undefined,
): string[] {
  const { losses, slices, decibel } = candidate;
  if (losses === undefined || sourceLosses === undefined) {
    return decibel >= floor.decibelMin
      ? []
      : [`${decibel.toFixed(1)} dB at the outputs, ${floor.decibelMin} are asked for`];
  }
  const rises = losses.map((loss, at) => loss - sourceLosses[at]!);
  const misses: string[] = [];
  const all = mean(rises);
  if (all > floor.metricDropMax) misses.push(words("in all", all, floor.metricDropMax));
  for (const [slice, values] of bySlice(rises, slices)) {
    const rise = mean(values);
    if (values.length >= sliceSamplesMin && rise > floor.sliceDropMax) {
      misses.push(words(`in ${slice}`, rise, floor.sliceDropMax));
    }
  }
  return misses;
}

function bySlice(
  rises: Float64Array,
  slices: readonly string[] | undefined,
): ReadonlyMap<string, number[]> {
  const groups = new Map<string, number[]>();
  slices?.forEach((slice, at) => {
    const group = groups.get(slice) ?? [];
    group.push(rises[at]!);
    groups.set(slice, group);
  });
  return groups;
}

const words = (where: string, rise: number, most: number) =>
  `${(rise * 100).toFixed(2)} points lost ${where}, ${(most * 100).toFixed(2)} are granted`;

function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let at = 0; at < values.length; at++) sum += values[at]!;
  return values.length === 0 ? 0 : sum / values.length;
}
