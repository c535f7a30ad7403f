/**
 * Cuts rare extremes: the same share of values is left out at either end of the histogram. What is cut
 * saturates, and everything else is resolved more finely.
 *
 * A tensor that is never negative is cut above only: ReLU puts so much weight on zero that the lower
 * cut would do nothing but move the zero point away from 0, which the fusion of ReLU depends on.
 */
import { z } from "zod";
import { defineMethod } from "../method.ts";

export const percentile = defineMethod({
  options: z.strictObject({
    method: z.literal("percentile"),
    /** Share of the values that stay inside the range, in percent. */
    percent: z.number().gt(50).max(100).default(99.99),
  }),
  needsHistogram: true,
  label: ({ percent }) => `percentile ${percent}`,
  range({ extremes, histogram }, { percent }) {
    const { full } = extremes;
    const { counts, min, max } = histogram;
    const width = (max - min) / counts.length;
    const total = counts.reduce((sum, count) => sum + count, 0);
    const isOneSided = full.min >= 0;
    const cut = total * (1 - percent / 100) * (isOneSided ? 1 : 0.5);
    const range = {
      min: isOneSided ? full.min : full.min + binsWithin(counts, cut) * width,
      max: full.max - binsWithin(counts.toReversed(), cut) * width,
    };
    return range.min < range.max ? range : full;
  },
});

/** How many bins from the start hold no more than `limit` values together. */
function binsWithin(counts: Float64Array, limit: number): number {
  let sum = 0;
  for (let bin = 0; bin < counts.length; bin++) {
    sum += counts[bin]!;
    if (sum > limit) return bin;
  }
  return counts.length;
}
