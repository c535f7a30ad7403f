/** The exponential histogram: its error, and that merging loses nothing. */
import { describe, expect, it } from "vitest";
import { seededRandom } from "../../../shared/prng.ts";
import {
  emptyHistogram,
  mergeHistograms,
  quantile,
  withValue,
} from "../../../shared/telemetry/histogram.ts";

const random = seededRandom(9);
const values = Array.from({ length: 5_000 }, () => 0.05 * 1.001 ** (random.nextFloat() * 6_000));
const build = (list: readonly number[]) => list.reduce(withValue, emptyHistogram());
const whole = build(values);

describe("quantiles", () => {
  it.each([0.5, 0.9, 0.99, 0.999])("%d is within 1.1 %% of the exact one", (fraction) => {
    const sorted = [...values].sort((a, b) => a - b);
    const exact = sorted[Math.ceil(fraction * sorted.length) - 1]!;
    expect(Math.abs(quantile(whole, fraction)! / exact - 1)).toBeLessThanOrEqual(0.011);
  });
  it("knows nothing of nothing, and counts zeros", () => {
    expect(quantile(emptyHistogram(), 0.5)).toBeNull();
    expect(quantile(build([0, 0, 5]), 0.5)).toBe(0);
  });
});

describe("merging", () => {
  it("gives the same as recording everything in one", () => {
    const parts = [values.slice(0, 10), values.slice(10, 3_000), values.slice(3_000), []];
    const merged = parts.map(build).reduce(mergeHistograms);
    expect({ ...merged, sum: 0 }).toEqual({ ...whole, sum: 0 });
    expect(merged.sum).toBeCloseTo(whole.sum, 6);
  });
  it("takes the coarser scale, and keeps every count", () => {
    const coarse = { ...build([1, 2, 4]), scale: 0, offset: -1, counts: [1, 1, 1] };
    const merged = mergeHistograms(whole, coarse);
    expect(merged.scale).toBe(0);
    expect(merged.counts.reduce((a, b) => a + b, 0)).toBe(values.length + 3);
  });
});
