/** Statistics of calibration: what several devices saw is what one would have seen. */
import { describe, expect, it } from "vitest";
import { ExtremesObserver, HistogramObserver } from "../../../shared/calibration/observers.ts";
import {
  decodeExtremes,
  decodeHistograms,
  type Extremes,
  encodeExtremes,
  encodeHistograms,
  type Histogram,
  histogramBins,
  mergeExtremes,
  mergeHistograms,
  mergeTables,
} from "../../../shared/calibration/statistics.ts";
import { seededRandom } from "../../../shared/prng.ts";

const random = seededRandom(5);
const samples = Array.from({ length: 12 }, (_, at) =>
  Float32Array.from({ length: 500 }, () => (random.nextFloat() - 0.3) * (at + 1)),
);

function extremesOf(parts: readonly Float32Array[]): Extremes {
  const observer = new ExtremesObserver();
  for (const values of parts) observer.observe(Math.min(...values), Math.max(...values));
  return observer.extremes()!;
}

function histogramOf(parts: readonly Float32Array[], grid: Extremes["full"]): Histogram {
  const observer = new HistogramObserver(grid);
  for (const values of parts) observer.observe(values);
  return observer.histogram();
}

const all = extremesOf(samples);
const [first, second] = [samples.slice(0, 5), samples.slice(5)];

describe("merging", () => {
  it("extremes of two devices are those of all their samples", () => {
    const merged = mergeExtremes(extremesOf(first), extremesOf(second));
    expect(merged.samples).toBe(12);
    expect(merged.full).toEqual(all.full);
    expect(merged.mean.min).toBeCloseTo(all.mean.min, 12);
    expect(merged.mean.max).toBeCloseTo(all.mean.max, 12);
  });

  it("histograms on one grid add up to that of all values", () => {
    const merged = mergeHistograms(histogramOf(first, all.full), histogramOf(second, all.full));
    expect(merged).toEqual(histogramOf(samples, all.full));
    expect(merged.counts.reduce((sum, count) => sum + count, 0)).toBe(6000);
  });

  it("histograms on different grids are refused", () => {
    const other = { min: all.full.min, max: all.full.max * 2 };
    expect(() => mergeHistograms(histogramOf(first, all.full), histogramOf(second, other))).toThrow(
      expect.objectContaining({ code: "calibration-failed" }),
    );
  });

  it("tables keep what only one of them has", () => {
    const a = new Map([
      ["x", extremesOf(first)],
      ["y", all],
    ]);
    const merged = mergeTables(a, new Map([["x", extremesOf(second)]]), mergeExtremes);
    expect(merged.get("x")!.full).toEqual(all.full);
    expect(merged.get("y")).toBe(all);
  });
});

describe("histogram", () => {
  it("counts values beyond its grid in the outer bins", () => {
    const { counts } = histogramOf([Float32Array.of(-1e30, -1, 0, 1, 1e30)], { min: 0, max: 1 });
    expect(counts[0]).toBe(3);
    expect(counts[histogramBins - 1]).toBe(2);
  });

  it("puts equal values into equal bins", () => {
    const grid = { min: -2, max: 2 };
    const edges = Float32Array.from({ length: histogramBins }, (_, bin) => -2 + bin / 1024);
    expect(histogramOf([edges], grid).counts.every((count) => count === 1)).toBe(true);
  });
});

describe("encoding", () => {
  const histograms = new Map([["a tensor/with: a name", histogramOf(samples, all.full)]]);
  const extremes = new Map([["a tensor/with: a name", all]]);

  it("gives back the same numbers", () => {
    expect(decodeExtremes(encodeExtremes(extremes))).toEqual(extremes);
    expect(decodeHistograms(encodeHistograms(histograms))).toEqual(histograms);
  });

  it.each([
    ["nothing", new Uint8Array()],
    ["another table", encodeExtremes(extremes)],
    ["half a table", encodeHistograms(histograms).subarray(0, 900)],
    ["a number", Uint8Array.of(1)],
  ])("refuses %s", (_what, bytes) => {
    expect(() => decodeHistograms(bytes)).toThrow(
      expect.objectContaining({ code: "calibration-failed" }),
    );
  });
});
