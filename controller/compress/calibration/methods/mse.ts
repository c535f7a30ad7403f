/**
 * The range whose codes lie nearest to the values: searches the ends of the range for the least mean
 * squared error of uint8 rounding and clipping over the histogram (Banner et al. 2019, "Post training
 * 4-bit quantization", eq. 1, by search instead of a fitted distribution).
 *
 * 1. Each end in turn, the other one fixed, is tried at `steps` even shares of its full length; 0 stays
 *    in the range.
 * 2. Repeated until neither end moves. The full range is where the search starts and what it must beat,
 *    so the error is never above that of min-max.
 *
 * The middle of a bin stands for its values, which is fair while a bin is narrower than a code.
 */
import { z } from "zod";
import type { Histogram } from "../../../../shared/calibration/statistics.ts";
import { type Range, scaleAndZeroPoint } from "../../quantize/scale.ts";
import { defineMethod } from "../method.ts";

/** Shares of an end's full length that are tried. */
const steps = 100;
const roundsMax = 8;
const codes: Range = { min: 0, max: 255 };

export const mse = defineMethod({
  options: z.strictObject({ method: z.literal("mse") }),
  needsHistogram: true,
  label: () => "mse",
  range({ extremes, histogram }) {
    const { full } = extremes;
    const widest = { min: Math.min(full.min, 0), max: Math.max(full.max, 0) };
    const errorOf = errorOver(histogram);
    let best = { range: widest, error: errorOf(widest) };
    const start = best.error;
    for (let round = 0; round < roundsMax; round++) {
      const before = best.error;
      for (const range of candidates(best.range, widest)) {
        const error = errorOf(range);
        if (error < best.error) best = { range, error };
      }
      if (best.error === before) break;
    }
    return best.error < start ? best.range : full;
  },
});

/** One end moved, the other kept. */
function candidates(current: Range, widest: Range): Range[] {
  const shares = Array.from({ length: steps }, (_, at) => (at + 1) / steps);
  return [
    ...(widest.max > 0 ? shares.map((share) => ({ ...current, max: widest.max * share })) : []),
    ...(widest.min < 0 ? shares.map((share) => ({ ...current, min: widest.min * share })) : []),
  ];
}

/** The sum of squared errors of all values, as a function of the range. */
function errorOver({ counts, min, max }: Histogram): (range: Range) => number {
  const width = (max - min) / counts.length;
  const filled = [...counts.keys()].filter((bin) => counts[bin]! > 0);
  const values = Float64Array.from(filled, (bin) => min + (bin + 0.5) * width);
  const weights = Float64Array.from(filled, (bin) => counts[bin]!);
  return (range) => {
    const { scale, zeroPoint } = scaleAndZeroPoint(range, codes, false);
    let error = 0;
    for (let index = 0; index < values.length; index++) {
      const value = values[index]!;
      const code = Math.min(codes.max, Math.max(codes.min, Math.round(value / scale) + zeroPoint));
      error += weights[index]! * (value - (code - zeroPoint) * scale) ** 2;
    }
    return error;
  };
}
