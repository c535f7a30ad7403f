/** What all gates of a device spend together, and that no gate spends more than its share. */
import { describe, expect, it } from "vitest";
import { alphaOf, testedGates } from "../../../../shared/evaluation/error-budget.ts";
import {
  metricFloorGate,
  pairedMetricGate,
  parityGate,
} from "../../../../shared/evaluation/gates.ts";
import { seededRandom } from "../../../../shared/prng.ts";

/** A level at which false alarms are frequent enough to be counted. */
const alphaDevice = 0.1;
const runs = 4_000;
const n = 500;

/** Shares of failed runs, at most alpha plus three standard errors when the promise holds. */
function rate(fails: () => boolean): number {
  let count = 0;
  for (let run = 0; run < runs; run++) if (fails()) count++;
  return count / runs;
}
const atMost = (alpha: number) => alpha + 3 * Math.sqrt((alpha * (1 - alpha)) / runs);

describe("the error budget of a device", () => {
  it("is spent once, and by every gate", () => {
    const sum = testedGates.reduce((total, gate) => total + alphaOf(gate, 0.001), 0);
    expect(sum).toBeCloseTo(0.001, 12);
    for (const gate of testedGates) expect(alphaOf(gate, 0.001)).toBeGreaterThan(0);
  });

  const random = seededRandom(20);
  const hits = (share: number) => {
    let count = 0;
    for (let sample = 0; sample < n; sample++) if (random.nextFloat() < share) count++;
    return count;
  };

  it.each([0.5, 0.9, 0.97])("holds for a device whose true metric is the floor, %f", (floor) => {
    const alpha = alphaOf("metric-floor", alphaDevice);
    const found = rate(
      () => metricFloorGate({ hits: hits(floor), n, floor, alpha }).verdict === "fail",
    );
    expect(found).toBeLessThanOrEqual(atMost(alpha));
    expect(found).toBeGreaterThan(0);
  });
  it("holds for a machine that differs as often as it may", () => {
    const alpha = alphaOf("parity", alphaDevice);
    const flipFractionMax = 0.005;
    const found = rate(
      () =>
        parityGate({ flips: hits(flipFractionMax), n, flipFractionMax, alpha }).verdict === "fail",
    );
    expect(found).toBeLessThanOrEqual(atMost(alpha));
  });
  it.each([0.01, 0.1])("holds for a release that flips %f of the samples each way", (flips) => {
    const alpha = alphaOf("paired-metric", alphaDevice);
    const found = rate(
      () =>
        pairedMetricGate({ worse: hits(flips), better: hits(flips), n, alpha }).verdict === "fail",
    );
    expect(found).toBeLessThanOrEqual(atMost(alpha));
  });
});
