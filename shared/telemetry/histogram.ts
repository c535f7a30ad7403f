/**
 * Exponential histogram of OpenTelemetry (base 2): bucket i holds (base^i, base^(i+1)] with
 * base = 2^(2^−scale). Merging adds counts, so nothing is lost but resolution.
 *
 * Scale 5 has a relative error of at most 1.09 % at bucket midpoints (base = 2^(1/32) = 1.0219).
 */
import type { HistogramData } from "../protocol/messages/telemetry-window.ts";

export const histogramScale = 5;
/** Buckets kept; at scale 5 they span a factor of 2^64 between lowest and highest value. */
const bucketsMax = 2_048;

export function emptyHistogram(): HistogramData {
  return {
    scale: histogramScale,
    offset: 0,
    counts: [],
    zeroCount: 0,
    count: 0,
    sum: 0,
    min: null,
    max: null,
  };
}

/** A histogram with one more value; values are ≥ 0 in whatever unit the owner chose. */
export function withValue(histogram: HistogramData, value: number): HistogramData {
  const next = {
    ...histogram,
    count: histogram.count + 1,
    sum: histogram.sum + value,
    min: Math.min(histogram.min ?? value, value),
    max: Math.max(histogram.max ?? value, value),
  };
  if (value <= 0) return { ...next, zeroCount: histogram.zeroCount + 1 };
  return {
    ...next,
    ...addCounts(histogram, { offset: bucketOf(value, histogram.scale), counts: [1] }),
  };
}

/** Both histograms in one; the coarser scale wins. */
export function mergeHistograms(a: HistogramData, b: HistogramData): HistogramData {
  const scale = Math.min(a.scale, b.scale);
  const left = coarsen(a, scale);
  const right = coarsen(b, scale);
  return {
    scale,
    ...addCounts(left, right),
    zeroCount: a.zeroCount + b.zeroCount,
    count: a.count + b.count,
    sum: a.sum + b.sum,
    min: extreme(Math.min, a.min, b.min),
    max: extreme(Math.max, a.max, b.max),
  };
}

/** Value below which a `fraction` of the values lies, or null when there is none. */
export function quantile(histogram: HistogramData, fraction: number): number | null {
  if (histogram.count === 0 || histogram.min === null || histogram.max === null) return null;
  const rank = Math.max(1, Math.ceil(fraction * histogram.count));
  let seen = histogram.zeroCount;
  if (seen >= rank) return 0;
  const base = 2 ** (2 ** -histogram.scale);
  for (const [index, count] of histogram.counts.entries()) {
    seen += count;
    if (seen >= rank) {
      const low = base ** (histogram.offset + index);
      // The harmonic middle of (low, low·base] has the same relative error at both ends.
      const middle = (2 * low * base) / (1 + base);
      return Math.min(histogram.max, Math.max(histogram.min, middle));
    }
  }
  return histogram.max;
}

/** Share of the values that lie above `limit`, to the width of a bucket; 0 without values. */
export function shareAbove(histogram: HistogramData, limit: number): number {
  if (histogram.count === 0 || histogram.max === null || histogram.max <= limit) return 0;
  if (limit <= 0) return (histogram.count - histogram.zeroCount) / histogram.count;
  const first = bucketOf(limit, histogram.scale) + 1 - histogram.offset;
  const above = histogram.counts.slice(Math.max(0, first)).reduce((sum, count) => sum + count, 0);
  return above / histogram.count;
}

/** Index i with base^i < value ≤ base^(i+1). */
function bucketOf(value: number, scale: number): number {
  return Math.ceil(Math.log2(value) * 2 ** scale) - 1;
}

type Buckets = Pick<HistogramData, "offset" | "counts">;

function addCounts(a: Buckets, b: Buckets): Buckets {
  if (a.counts.length === 0) return { offset: b.offset, counts: [...b.counts] };
  if (b.counts.length === 0) return { offset: a.offset, counts: [...a.counts] };
  const end = Math.max(a.offset + a.counts.length, b.offset + b.counts.length);
  // A span beyond the limit folds its lowest buckets into the first one that is kept.
  const offset = Math.max(Math.min(a.offset, b.offset), end - bucketsMax);
  const counts = new Array<number>(end - offset).fill(0);
  for (const part of [a, b]) {
    for (const [index, count] of part.counts.entries()) {
      counts[Math.max(0, part.offset + index - offset)]! += count;
    }
  }
  return { offset, counts };
}

function coarsen(histogram: HistogramData, scale: number): Buckets {
  const factor = 2 ** (histogram.scale - scale);
  if (factor === 1 || histogram.counts.length === 0) return histogram;
  const offset = Math.floor(histogram.offset / factor);
  const last = Math.floor((histogram.offset + histogram.counts.length - 1) / factor);
  const counts = new Array<number>(last - offset + 1).fill(0);
  for (const [index, count] of histogram.counts.entries()) {
    counts[Math.floor((histogram.offset + index) / factor) - offset]! += count;
  }
  return { offset, counts };
}

function extreme(
  choose: (a: number, b: number) => number,
  a: number | null,
  b: number | null,
): number | null {
  if (a === null || b === null) return a ?? b;
  return choose(a, b);
}
