/**
 * Cuts rare extremes: the same share of values is left out at either end of a histogram. What is cut
 * saturates, and everything else is resolved more finely.
 *
 * A tensor that is never negative is cut above only: ReLU puts so much weight on zero that the lower
 * cut would do nothing but move the zero point away from 0, which the fusion of ReLU depends on.
 */
import type { Range } from "../quantize/scale.ts";
import type { Observer } from "./observer.ts";

export function percentileObserver(
  full: Range,
  options: { readonly percent: number; readonly bins: number },
): Observer {
  const counts = new Float64Array(options.bins);
  const width = (full.max - full.min) / options.bins;
  let total = 0;
  return {
    observe(values) {
      if (!(width > 0)) return;
      for (const value of values) {
        const bin = Math.floor((value - full.min) / width);
        counts[Math.min(Math.max(bin, 0), options.bins - 1)]!++;
      }
      total += values.length;
    },
    range() {
      if (total === 0) return full;
      const isOneSided = full.min >= 0;
      const cut = total * (1 - options.percent / 100) * (isOneSided ? 1 : 0.5);
      const above = binsWithin(counts.toReversed(), cut);
      const below = isOneSided ? 0 : binsWithin(counts, cut);
      const max = full.max - above * width;
      const min = full.min + below * width;
      return min < max ? { min, max } : full;
    },
  };
}

/** How many bins from the start hold no more than `limit` values together. */
function binsWithin(counts: Float64Array, limit: number): number {
  let sum = 0;
  for (let bin = 0; bin < counts.length; bin++) {
    sum += counts[bin]!;
    if (sum > limit) return bin;
  }
  return counts.length;
}
