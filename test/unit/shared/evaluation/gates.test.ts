/** The gates on golden samples: what all of them spend together, what they see, and what they say. */
import { describe, expect, it } from "vitest";
import {
  alphaOf,
  expectedHealthyRollbacks,
  testedGates,
} from "../../../../shared/evaluation/error-budget.ts";
import {
  metricFloorGate,
  pairedMetricGate,
  parityGate,
} from "../../../../shared/evaluation/gates.ts";
import type { Judged } from "../../../../shared/evaluation/metrics/metric.ts";
import { rmse } from "../../../../shared/evaluation/metrics/rmse.ts";
import { top1 } from "../../../../shared/evaluation/metrics/top-1.ts";
import { seededRandom } from "../../../../shared/prng.ts";
import {
  failureRate,
  judgedClasses,
  judgedHits,
  judgedLosses,
  withinThreeErrors,
} from "../../../helpers/judged.ts";

/** A level at which false alarms are frequent enough to be counted. */
const alphaDevice = 0.1;
const runs = 600;
const n = 500;
const random = seededRandom(20);
const draw = (share: number, count = n) =>
  Array.from({ length: count }, () => random.nextFloat() < share);
const floorOf = (judged: Judged, change: Partial<Parameters<typeof metricFloorGate>[0]> = {}) =>
  metricFloorGate({
    metric: top1,
    judged,
    classNames: ["cat", "dog", "owl"],
    slices: null,
    floors: { metric: 0, class: null, slice: null },
    alpha: 1e-4,
    ...change,
  });
const pairOf = (fresh: Judged, old: Judged, change = {}) =>
  pairedMetricGate({
    metric: top1,
    pair: { fresh, old },
    looks: { shards: 1, worse: 0, better: 0 },
    alphaFirst: 2e-4,
    alphaRepeated: 1e-4,
    margin: null,
    random: seededRandom(1),
    ...change,
  });

describe("the error budget of a device", () => {
  it("is spent once, and by every gate", () => {
    const sum = testedGates.reduce((total, gate) => total + alphaOf(gate, 0.001), 0);
    expect(sum).toBeCloseTo(0.001, 12);
    for (const gate of testedGates) expect(alphaOf(gate, 0.001)).toBeGreaterThan(0);
    expect(expectedHealthyRollbacks(10_000, 0.001)).toBeCloseTo(10, 9);
  });
  it.each([0.5, 0.9, 0.97])("holds for a device whose true metric is its floor, %f", (floor) => {
    const alpha = alphaOf("metric-floor", alphaDevice);
    const floors = { metric: floor, class: null, slice: null };
    const found = failureRate(
      runs,
      () => floorOf(judgedHits(draw(floor)), { floors, alpha }).verdict === "fail",
    );
    expect(found).toBeLessThanOrEqual(withinThreeErrors(alpha, runs));
    expect(found).toBeGreaterThan(0);
  });
  it("holds where every class and every slice is just at its floor too", () => {
    const alpha = alphaOf("metric-floor", alphaDevice);
    const floors = { metric: 0.9, class: 0.9, slice: 0.9 };
    const index = Array.from({ length: n }, (_, at) => at % 5);
    const slices = { names: ["a", "b", "c", "d", "e"], index };
    const found = failureRate(runs, () => {
      const judged = judgedClasses(random, n, 10, 0.9);
      return floorOf(judged, { floors, slices, alpha }).verdict === "fail";
    });
    expect(found).toBeLessThanOrEqual(withinThreeErrors(alpha, runs));
    expect(found).toBeGreaterThan(0);
  });
  it("holds for a machine that differs as often as it may", () => {
    const alpha = alphaOf("parity", alphaDevice);
    const flipFractionMax = 0.005;
    const flips = () => draw(flipFractionMax).filter(Boolean).length;
    const found = failureRate(
      runs,
      () => parityGate({ flips: flips(), n, flipFractionMax, alpha }).verdict === "fail",
    );
    expect(found).toBeLessThanOrEqual(withinThreeErrors(alpha, runs));
  });
  it.each([0.01, 0.1])("holds over every look at a release that flips %f each way", (flips) => {
    const first = alphaOf("paired-metric", alphaDevice);
    const repeated = alphaOf("paired-repeated", alphaDevice);
    const found = failureRate(runs, () => {
      let [worse, better] = [0, 0];
      return [1, 2, 3, 4, 5].some((shards) => {
        const right = draw(1 - flips);
        const old = judgedHits(right.map((hit) => hit || random.nextFloat() < 0.5));
        const fresh = judgedHits(right.map((hit, at) => hit || old.losses[at] === 1));
        worse += fresh.losses.filter((loss, at) => loss > old.losses[at]!).length;
        better += fresh.losses.filter((loss, at) => loss < old.losses[at]!).length;
        const looks = { shards, worse, better };
        const alphas = { alphaFirst: first, alphaRepeated: repeated };
        return pairOf(fresh, old, { looks, ...alphas }).verdict === "fail";
      });
    });
    expect(found).toBeLessThanOrEqual(withinThreeErrors(first + repeated, runs));
    expect(found).toBeGreaterThan(0);
  });
});

describe("parity", () => {
  it("rejects a machine that computes something else (reference: 10 flips of 500 at 1e-3)", () => {
    const gate = (flips: number) =>
      parityGate({ flips, n: 500, flipFractionMax: 0.005, alpha: 1e-3 }).verdict;
    expect(gate(9)).toBe("pass");
    expect(gate(10)).toBe("fail");
  });
});

describe("the floors", () => {
  /** 100 samples of each class; of owls every third is right, rounded up. */
  const labels = Array.from({ length: 300 }, (_, at) => at % 3);
  const owlish = judgedHits(
    labels.map((label, at) => label < 2 || at % 9 === 2),
    labels,
  );
  const slices = { names: ["north", "south"], index: labels.map((label) => (label < 2 ? 0 : 1)) };

  it("name the worst class and the worst slice in every verdict", () => {
    const gate = floorOf(owlish, { slices });
    expect(gate.verdict).toBe("pass");
    expect(gate.why).toMatch(/worst class "owl": 34.00 % of 100; worst slice "south": 34.00 % of/);
    expect(gate.numbers).toMatchObject({
      worstClass: 2,
      worstClassValue: 0.34,
      worstClassN: 100,
      worstSlice: 1,
    });
  });
  it.each(["class", "slice"] as const)(
    "of a %s keeps a model out that is good on average",
    (of) => {
      const floors = { metric: 0.6, class: null, slice: null, [of]: 0.6 };
      const gate = floorOf(owlish, { slices, floors });
      expect(gate.verdict).toBe("fail");
      expect(gate.why).toMatch(/its floor is 60.00 % and is missed/);
      const lower = floorOf(owlish, { slices, floors: { ...floors, [of]: 0.25 } });
      expect(lower.verdict).toBe("pass");
    },
  );
  it("fail a model that was judged on nothing", () => {
    expect(floorOf(judgedHits([])).verdict).toBe("fail");
  });
  it("stay within the message's limits, whatever classes are called", () => {
    const why = floorOf(owlish, { classNames: ["x".repeat(256), "y", "z".repeat(256)] }).why;
    expect(why.length).toBeLessThan(512);
  });
});

describe("the pair", () => {
  const right = judgedHits(Array.from({ length: 500 }, (_, at) => at >= 5));
  const worse = judgedHits(Array.from({ length: 500 }, (_, at) => at >= 45));
  const looks = (lost: number, won: number, shards = 1) => ({
    looks: { shards, worse: lost, better: won },
  });

  it("sees a drop of eight points in 500 samples, and lets noise pass", () => {
    expect(pairOf(worse, right, looks(40, 0)).verdict).toBe("fail");
    expect(pairOf(right, right, looks(0, 0)).verdict).toBe("pass");
  });
  it("takes the evidence of all shards together from the second on", () => {
    const drop = pairOf(right, right, looks(60, 10, 2));
    expect(drop).toMatchObject({ verdict: "fail", numbers: { worse: 60, better: 10 } });
    expect(drop.why).toMatch(/the samples of 2 shards/);
    expect(pairOf(right, right, looks(12, 10, 2)).verdict).toBe("pass");
  });
  it("certifies what is within the margin, and only says so", () => {
    const sure = pairOf(right, right, { ...looks(0, 0), margin: 0.02 });
    expect(sure).toMatchObject({ verdict: "pass", numbers: { certified: 1 } });
    const unsure = pairOf(worse, right, { ...looks(0, 0), margin: 0.02, alphaFirst: 0 });
    expect(unsure).toMatchObject({ verdict: "pass", numbers: { certified: 0 } });
    expect(unsure.why).toMatch(/not certified to be within 2.00 points: the drop may be up to/);
    const losses = judgedLosses(new Array(500).fill(0.1));
    const without = pairOf(losses, losses, { ...looks(0, 0), metric: rmse, margin: 0.02 });
    expect(without.why).toMatch(/no certificate/);
  });
});
