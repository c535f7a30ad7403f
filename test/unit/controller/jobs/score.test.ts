/** Scores over the parts of a pool, with labels and without. */
import { describe, expect, it } from "vitest";
import {
  type Answers,
  compareWithSource,
  exactScoreOf,
  judgedSamples,
  type Score,
  scoreOf,
  sourceSamples,
} from "../../../../controller/jobs/score.ts";
import type { GoldenSet } from "../../../../shared/evaluation/golden-set.ts";
import type { GoldenSplit } from "../../../../shared/evaluation/golden-split.ts";

const split: GoldenSplit = {
  calibration: Uint32Array.of(0),
  selection: Uint32Array.of(1, 2),
  sealed: Uint32Array.of(3, 4, 5, 6),
  shards: [],
};

function set(change: Partial<GoldenSet>): GoldenSet {
  return {
    name: "test",
    metric: "top-1",
    count: 7,
    inputs: {},
    labels: new Int32Array(),
    targets: [],
    scale: 1,
    regionSlice: undefined,
    poolSha256: "",
    ...change,
  };
}

const classes = (...top1: number[]) => ({ top1: Int32Array.from(top1), outputs: [] });
const outputs = (...values: number[][]) => ({
  top1: new Int32Array(values.length),
  outputs: values.map((each) => Float32Array.from(each)),
});

const both = (golden: GoldenSet, variant: Answers, source: Answers) =>
  [split.selection, split.sealed].map((part) => scoreOf(golden, part, variant, source)) as [
    Score,
    Score,
  ];

describe("samples that are answered", () => {
  const parts = { ...split, shards: [Uint32Array.of(8, 12), Uint32Array.of(7, 11)] };

  it("are all that a variant is judged on, never those that calibrate it", () => {
    expect([...judgedSamples(parts)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 11, 12]);
  });

  it("are of the source those that it is compared on", () => {
    expect([...sourceSamples(set({}), parts)]).toEqual([1, 2]);
    expect([...sourceSamples(set({ metric: "agreement" }), parts)]).toEqual([1, 2, 3, 4, 5, 6]);
  });
});

describe("with labels", () => {
  const labelled = set({ labels: Int32Array.of(0, 1, 2, 3, 4, 5, 6) });
  const source = classes(0, 1, 2, 3, 4, 9, 9);
  const variant = classes(9, 1, 9, 3, 9, 5, 9);

  it("counts right answers of each part alone", () => {
    const [selection, sealed] = both(labelled, variant, source);
    expect(selection).toMatchObject({ value: 0.5, n: 2 });
    expect(sealed).toMatchObject({ value: 0.5, n: 4 });
    expect(sealed.low).toBeGreaterThan(0.1);
    expect(sealed.high).toBeLessThan(0.9);
  });

  it("pairs samples with those of the source", () => {
    expect(compareWithSource(labelled, split.sealed, variant, source)).toEqual({
      worse: 1,
      better: 1,
    });
  });
});

describe("without labels", () => {
  const agreement = set({ metric: "agreement" });

  it("is the share of equal classes for a classifier", () => {
    const source = classes(0, 1, 2, 3, 4, 5, 6);
    const [, sealed] = both(agreement, classes(0, 0, 0, 3, 4, 5, 0), source);
    expect(sealed).toMatchObject({ value: 0.75, n: 4 });
  });

  it("is the mean cosine of the outputs otherwise", () => {
    const source = outputs([1, 0], [1, 0], [1, 0], [1, 0], [1, 0], [1, 0], [0, 0]);
    const variant = outputs([9, 9], [2, 0], [1, 0], [1, 1], [0, 1], [Number.NaN, 0], [0, 0]);
    const [selection, sealed] = both(agreement, variant, source);
    expect(selection).toEqual({ value: 1, low: 1, high: 1, n: 2 });
    expect(sealed.value).toBeCloseTo((Math.SQRT1_2 + 0 + 0 + 1) / 4, 6);
    expect(sealed.low).toBeLessThan(sealed.value);
    expect(sealed.high).toBeLessThanOrEqual(1);
  });

  it("has no pairs", () => {
    const source = classes(0, 1, 2, 3, 4, 5, 6);
    expect(compareWithSource(agreement, split.sealed, source, source)).toEqual({
      worse: 0,
      better: 0,
    });
  });
});

describe("an exact score", () => {
  const labelled = (metric: GoldenSet["metric"]) => set({ metric, labels: new Int32Array(7) });
  const exact = (golden: GoldenSet, variant: Answers, source = variant) =>
    exactScoreOf(golden, split.sealed, variant, source);

  it("has the interval of Clopper and Pearson where the value is a share", () => {
    const right = classes(0, 0, 0, 0, 0, 0, 0);
    // Of four samples without a fault: 0.025 to the power of 1/4.
    const expected = { value: 1, low: expect.closeTo(0.025 ** 0.25, 9), high: 1, n: 4 };
    expect(exact(labelled("top-1"), right)).toEqual(expected);
    expect(exact(set({ metric: "agreement" }), right)).toEqual(expected);
  });

  it("is the score where it is none", () => {
    const variant = classes(0, 0, 0, 1, 0, 1, 0);
    const source = outputs([1], [1], [1], [1], [1], [1], [1]);
    const macro = labelled("macro-f1");
    expect(exact(macro, variant)).toEqual(scoreOf(macro, split.sealed, variant, variant));
    const alike = set({ metric: "agreement" });
    expect(exact(alike, source)).toEqual(scoreOf(alike, split.sealed, source, source));
  });
});
