/**
 * Clips where the clipped and coarsened distribution tells least apart from the one that was seen, by
 * the Kullback-Leibler divergence (Migacz 2017, "8-bit Inference with TensorRT", slides 26 to 38).
 *
 * 1. h: magnitudes in B equal bins. For each threshold of i bins, from `levels` to B in steps of 128:
 *    P = h[0..i) with all that lies beyond added to its last bin; Q = h[0..i) summed into `levels`
 *    groups, each sum spread evenly over the bins of its group that are not empty.
 * 2. The threshold of the least KL(P ‖ Q) wins; both are normalised to 1.
 * 3. Bins of the lowest 0.2 % are left out: ReLU fills them with zeros, which are exact in any code
 *    (as PPQ does).
 *
 * onnxruntime's own method has 128 bins for 128 levels, so it tries the full range and nothing else,
 * and spreads over empty bins too.
 *
 * Holds for magnitudes, so only for tensors of one sign and for nearly symmetric ones; others keep
 * their full range.
 */
import { z } from "zod";
import type { Histogram } from "../../../../shared/calibration/statistics.ts";
import { defineMethod } from "../method.ts";

/** Bins by which thresholds differ. */
const thresholdStep = 128;
/** Share of the lowest bins that is left out. */
const lowestShare = 0.002;
/** What Q has where it should be nothing: makes the divergence large instead of infinite. */
const nothing = 1e-12;
/** Up to this ratio of its two magnitudes a tensor counts as symmetric. */
const symmetryRatioMax = 2;

export const entropy = defineMethod({
  options: z.strictObject({
    method: z.literal("entropy"),
    /** Levels that magnitudes are told apart by: TensorRT's 128, or the 256 codes of uint8. */
    levels: z.union([z.literal(128), z.literal(256)]).default(128),
  }),
  needsHistogram: true,
  label: ({ levels }) => (levels === 128 ? "entropy" : `entropy ${levels}`),
  range({ extremes, histogram }, { levels }) {
    const { full } = extremes;
    const largest = Math.max(-full.min, full.max);
    const smallest = Math.min(-full.min, full.max);
    const isTwoSided = smallest > 0;
    if (isTwoSided && largest > smallest * symmetryRatioMax) return full;
    if (!(largest > 0) || full.min === full.max) return full;
    const magnitudes = magnitudesOf(histogram, largest);
    const threshold = (bestThreshold(magnitudes, levels) / magnitudes.length) * largest;
    return { min: Math.max(full.min, -threshold), max: Math.min(full.max, threshold) };
  },
});

/** The histogram of |x| over 0 to `largest`, by the middle of each bin. */
function magnitudesOf({ counts, min, max }: Histogram, largest: number): Float64Array {
  const bins = counts.length;
  const width = (max - min) / bins;
  const magnitudes = new Float64Array(bins);
  for (let bin = 0; bin < bins; bin++) {
    const middle = Math.abs(min + (bin + 0.5) * width);
    magnitudes[Math.min(bins - 1, Math.floor((middle / largest) * bins))]! += counts[bin]!;
  }
  return magnitudes.fill(0, 0, Math.floor(bins * lowestShare));
}

/** The number of bins that stay. */
function bestThreshold(magnitudes: Float64Array, levels: number): number {
  let best = { bins: magnitudes.length, divergence: Number.POSITIVE_INFINITY };
  for (let bins = levels; bins <= magnitudes.length; bins += thresholdStep) {
    const divergence = divergenceAt(magnitudes, bins, levels);
    if (divergence < best.divergence) best = { bins, divergence };
  }
  return best.bins;
}

/** KL(P ‖ Q) of the distribution clipped at `bins`. */
function divergenceAt(magnitudes: Float64Array, bins: number, levels: number): number {
  const kept = magnitudes.subarray(0, bins);
  const inside = sum(kept);
  const beyond = sum(magnitudes.subarray(bins));
  if (inside === 0) return Number.POSITIVE_INFINITY;
  let divergence = 0;
  for (let level = 0; level < levels; level++) {
    const from = Math.floor((level * bins) / levels);
    const to = Math.floor(((level + 1) * bins) / levels);
    const group = kept.subarray(from, to);
    const filled = group.reduce((count, value) => count + (value > 0 ? 1 : 0), 0);
    const spread = filled === 0 ? 0 : sum(group) / filled / inside;
    for (let bin = from; bin < to; bin++) {
      const count = kept[bin]! + (bin === bins - 1 ? beyond : 0);
      if (count === 0) continue;
      const p = count / (inside + beyond);
      divergence += p * Math.log(p / (kept[bin]! > 0 ? spread : nothing));
    }
  }
  return divergence;
}

function sum(values: Float64Array): number {
  return values.reduce((total, value) => total + value, 0);
}
