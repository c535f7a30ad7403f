/** Each metric: known values, and tests that keep their level in finite samples and see real harm. */
import { describe, expect, it } from "vitest";
import { detectionF1 } from "../../../../shared/evaluation/metrics/detection-f1.ts";
import { macroF1 } from "../../../../shared/evaluation/metrics/macro-f1.ts";
import { meanIou } from "../../../../shared/evaluation/metrics/mean-iou.ts";
import {
  type Answered,
  flipsOf,
  type Judged,
  judge,
  type Metric,
  select,
} from "../../../../shared/evaluation/metrics/metric.ts";
import { metricNameSchema, metricOf } from "../../../../shared/evaluation/metrics/registry.ts";
import { rmse } from "../../../../shared/evaluation/metrics/rmse.ts";
import { top1 } from "../../../../shared/evaluation/metrics/top-1.ts";
import { type Random, seededRandom } from "../../../../shared/prng.ts";
import {
  failureRate,
  judgedClasses,
  judgedLosses,
  withinThreeErrors,
} from "../../../helpers/judged.ts";

const runs = 500;
const alpha = 0.02;
const n = 200;

function lossOf(metric: Metric, output: number[], target: number[], scale = 1): number {
  const answered: Answered = { top1: [], outputs: [Float32Array.from(output)] };
  return metric.lossOf(0, answered, { labels: [], targets: [Float32Array.from(target)], scale });
}
const mismatch = expect.objectContaining({ code: "golden-mismatch" });

describe("rmse", () => {
  it("is 1 at no error, 0 at an error of the scale, and bounded beyond it", () => {
    expect(lossOf(rmse, [3, 4], [3, 4])).toBe(0);
    expect(lossOf(rmse, [0, 0], [2, 2], 4)).toBeCloseTo(0.25, 9);
    expect(lossOf(rmse, [1e30], [0], 4)).toBe(1);
    expect(lossOf(rmse, [Number.NaN], [0])).toBe(1);
    expect(rmse.estimate(judgedLosses([0.25, 0.25])).value).toBeCloseTo(0.5, 9);
  });
  it("refuses an output of another length than the target", () => {
    expect(() => lossOf(rmse, [1], [1, 2])).toThrow(mismatch);
  });
});

describe("detections", () => {
  const box = (x: number, score = 0.9, kind = 0) => [x, 0, x + 10, 10, score, kind];
  const target = (x: number, kind = 0) => [x, 0, x + 10, 10, kind];
  it.each([
    ["found", box(1), target(0), 0],
    ["too far away", box(6), target(0), 1],
    ["of another class", box(0, 0.9, 1), target(0), 1],
    ["too unsure", box(0, 0.1), target(0), 1],
    ["found twice", [...box(0), ...box(1, 0.8)], target(0), 1 / 3],
    ["found by half", box(0), [...target(0), ...target(50)], 1 / 3],
    ["none where padding says none", [], target(0, -1), 0],
    ["an empty box", [0, 0, 0, 0, 0.9, 0], target(0), 1],
  ])("%s", (_what, output, targets, loss) => {
    expect(lossOf(detectionF1, output, targets)).toBeCloseTo(loss, 9);
  });
  it("are rows of six numbers", () => {
    expect(() => lossOf(detectionF1, [1, 2], target(0))).toThrow(mismatch);
  });
});

describe("overlap of classes", () => {
  it("is the mean over the classes that occur", () => {
    // Two classes at four places: answers 0 0 1 1, truth 0 1 1 1.
    const scores = [9, 9, 1, 1, 1, 1, 9, 9];
    expect(1 - lossOf(meanIou, scores, [0, 1, 1, 1])).toBeCloseTo((1 / 2 + 2 / 3) / 2, 9);
    expect(1 - lossOf(meanIou, scores, [0, -1, 1, 1])).toBe(1);
    expect(() => lossOf(meanIou, [1, 2, 3], [0, 1])).toThrow(mismatch);
  });
});

describe("macro-F1", () => {
  it("is the mean over the classes that the samples hold", () => {
    const judged = judge(
      macroF1,
      { top1: [0, 0, 1, 1, 1, 2], outputs: [] },
      { labels: [0, 0, 0, 1, 1, 1], targets: [], scale: 1 },
    );
    // Class 0: 2 of 2 + 1 missed; class 1: 2 hits, 1 false, 1 missed.
    expect(macroF1.estimate(judged).value).toBeCloseTo((4 / 5 + 4 / 6) / 2, 9);
    expect(macroF1.estimate(select(judged, [0, 1])).value).toBe(1);
  });
  it("sees a rare class collapse that hardly moves the share of right answers", () => {
    const labels = Int32Array.from({ length: 2_000 }, (_, at) => (at % 40 === 0 ? 1 : 0));
    const old = { labels, top1: labels, losses: new Float64Array(2_000) };
    const fresh = { ...old, top1: new Int32Array(2_000) };
    const p = macroF1.worseP({ fresh, old }, 1e-3, seededRandom(1));
    expect(p).toBeLessThan(1e-3);
    expect(macroF1.isBelow(fresh, 0.9, 1e-4)).toBe(true);
  });
});

/** Two models of one quality: what happens to a sample is drawn for both alike. */
const exchangeable: Record<string, (random: Random) => { fresh: Judged; old: Judged }> = {
  "top-1": (random) => twoClassifiers(random),
  "macro-f1": (random) => twoClassifiers(random),
  rmse: (random) => twoLosses(random, () => random.nextFloat() ** 4),
  // Heavy tails: most samples are perfect, a few are lost.
  "detection-f1": (random) => twoLosses(random, () => (random.nextFloat() < 0.03 ? 1 : 0)),
  "mean-iou": (random) => twoLosses(random, () => random.nextFloat() / 3),
};
function twoClassifiers(random: Random) {
  const draw = () => judgedClasses(random, n, 5, 0.8);
  return { fresh: draw(), old: draw() };
}
function twoLosses(random: Random, loss: () => number) {
  const shared = Array.from({ length: n }, loss);
  const model = () =>
    judgedLosses(shared.map((each) => (random.nextFloat() < 0.5 ? each : loss())));
  return { fresh: model(), old: model() };
}

const judgedNames = metricNameSchema.options.filter((name) => metricOf(name) !== undefined);

describe.each(judgedNames)("the tests of %s", (name) => {
  const metric = metricOf(name)!;
  const draw = exchangeable[name]!;

  it("keep their level for a release that is no worse", () => {
    const random = seededRandom(7);
    const found = failureRate(runs, () => metric.worseP(draw(random), alpha, random) <= alpha);
    expect(found).toBeLessThanOrEqual(withinThreeErrors(alpha, runs));
    expect(found).toBeGreaterThan(0);
  });
  it("see a release that loses every tenth sample, at the level of a device", () => {
    const random = seededRandom(8);
    const level = 2e-4;
    let seen = 0;
    for (let run = 0; run < 10; run++) {
      const { old } = draw(random);
      const lost = [...old.losses.keys()].filter((at) => at % 10 === 0);
      const fresh: Judged = {
        ...old,
        losses: old.losses.map((loss, at) => (lost.includes(at) ? 1 : loss)),
        top1: old.top1.map((said, at) => (lost.includes(at) ? (old.labels[at]! + 1) % 5 : said)),
      };
      if (metric.worseP({ fresh, old }, level, random) <= level) seen++;
    }
    expect(seen).toBeGreaterThanOrEqual(9);
  });
  it("bound the drop of its value, where it has a bound", () => {
    const random = seededRandom(9);
    const missed = failureRate(60, () => {
      const bound = metric.dropBound(draw(random), 0.05);
      return bound !== undefined && bound < 0;
    });
    expect(missed).toBeLessThanOrEqual(withinThreeErrors(0.05, 60));
  });
  it("find a value below its floor, and none at its floor", () => {
    const random = seededRandom(10);
    const pool = Array.from({ length: 100 }, () => metric.estimate(draw(random).old).value);
    const truth = pool.reduce((sum, value) => sum + value, 0) / pool.length;
    const found = failureRate(
      runs / 4,
      // Half a point lower: the mean over the pool is an estimate itself.
      () => metric.isBelow(draw(random).old, truth - 0.005, alpha),
    );
    expect(found).toBeLessThanOrEqual(withinThreeErrors(alpha, runs / 4));
    const high = Math.min(1, truth + (1 - truth) * 0.9);
    expect(metric.isBelow(draw(random).old, high, alpha)).toBe(true);
    expect(metric.isBelow(draw(random).old, 0, alpha)).toBe(false);
  });
});

it("counts the samples that changed", () => {
  const pair = { fresh: judgedLosses([0, 1, 0.5, 0.5]), old: judgedLosses([1, 0, 0.4, 0.5]) };
  expect(flipsOf(pair)).toEqual({ worse: 2, better: 1 });
  expect(top1.dropBound({ fresh: pair.old, old: pair.old }, 0.05)).toBeGreaterThan(0);
});
