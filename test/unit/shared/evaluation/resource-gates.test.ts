/** Time, energy and memory: what all looks spend under hostile load, and what they see through it. */
import { describe, expect, it } from "vitest";
import { looksMax } from "../../../../agent/trial/resources.ts";
import {
  type Environment,
  energyGate,
  latencyGate,
  memoryGate,
} from "../../../../shared/evaluation/resource-gates.ts";
import { seededRandom } from "../../../../shared/prng.ts";
import { failureRate, withinThreeErrors } from "../../../helpers/judged.ts";

const quiet: Environment = { loadPerCore: 0.1, stolenFraction: 0, unfit: undefined };
const busy: Environment = { loadPerCore: 4, stolenFraction: 0.6, unfit: undefined };
const alpha = 0.15e-3 / looksMax;
const pairs = 32;
const gateOf = (
  ratio: number | readonly number[],
  environment = quiet,
  cpuRatios: readonly number[] = [ratio].flat().slice(),
) => {
  const wallRatios = typeof ratio === "number" ? new Array<number>(pairs).fill(ratio) : ratio;
  const cpu = cpuRatios.length === 1 ? wallRatios.map(() => cpuRatios[0]!) : cpuRatios;
  return latencyGate({ wallRatios, cpuRatios: cpu, ratioMax: 1.1, alpha, environment });
};

describe("latency", () => {
  it.each([
    ["fails beyond doubt", 2, quiet, "fail"],
    ["passes within the limit", 1.09, quiet, "pass"],
    ["fails on a busy machine too", 2, busy, "fail"],
    ["passes there when it does not look slow", 1.02, busy, "pass"],
    ["decides nothing on a throttled one", 2, { ...quiet, unfit: "throttled" }, "inconclusive"],
  ])("%s", (_what, ratio, environment, verdict) => {
    expect(gateOf(ratio, environment).verdict).toBe(verdict);
  });
  it("leaves open what only looks slow on a busy machine, and passes it on a quiet one", () => {
    const wide = Array.from({ length: pairs }, (_, at) => (at % 3 === 0 ? 0.8 : 1.4));
    expect(gateOf(wide, busy)).toMatchObject({
      verdict: "inconclusive",
      why: expect.stringMatching(/others took 60 % of the time/),
    });
    expect(gateOf(wide, quiet).verdict).toBe("pass");
  });
  it("sees by processor time what preemption hides in wall time", () => {
    const wall = Array.from({ length: pairs }, (_, at) => (at % 4 === 0 ? 0.4 : 3));
    const cpu = new Array<number>(pairs).fill(1.9);
    expect(gateOf(wall, busy, cpu).verdict).toBe("fail");
    // Without a clock that is fine enough, wall time alone decides.
    expect(gateOf(wall, busy, []).verdict).toBe("inconclusive");
  });

  /** Time that a slot of a block costs whatever runs in it: quiet, drifting, bursts, another tenant. */
  const loads: Record<string, (random: () => number, slot: number) => number> = {
    "small noise": (random) => 1 + 0.02 * random(),
    "a drift": (random, slot) => 1 + slot / 8 + 0.02 * random(),
    "heavy tails": (random) => 1 + 0.05 / (random() + 1e-4),
    "bursts that outlast a block": (random, slot) => (slot % 7 < 3 ? 4 : 1) + 0.1 * random(),
    "a rhythm of two blocks": (random, slot) => (slot % 2 === 0 ? 3 : 1) + 0.1 * random(),
  };
  it.each(Object.entries(loads))("keeps its level over all looks under %s", (_name, load) => {
    const generator = seededRandom(3);
    const random = () => generator.nextFloat();
    const runs = 400;
    const total = 0.2;
    const look = () => {
      const drawn = () =>
        Array.from({ length: 16 }, (_, pair) => {
          const first = load(random, 2 * pair);
          const second = load(random, 2 * pair + 1);
          return random() < 0.5 ? first / second : second / first;
        });
      return latencyGate({
        ...{ wallRatios: drawn(), cpuRatios: drawn(), ratioMax: 1 },
        ...{ alpha: total / looksMax, environment: quiet },
      });
    };
    const found = failureRate(runs, () =>
      Array.from({ length: looksMax }, look).some(({ verdict }) => verdict === "fail"),
    );
    expect(found).toBeLessThanOrEqual(withinThreeErrors(total, runs));
  });
});

describe("energy", () => {
  const ratios = new Array<number>(pairs).fill(1.5);
  const of = (change: object) =>
    energyGate({ source: "rapl", ratios, ratioMax: null, alpha: 1e-5, ...change });
  it("is skipped without a counter, and informs where no limit is set", () => {
    expect(of({ source: undefined })).toMatchObject({
      verdict: "skipped",
      why: "energy source none",
    });
    expect(of({ ratios: [] })).toMatchObject({ verdict: "skipped" });
    expect(of({})).toMatchObject({ verdict: "pass", numbers: { energyRatioMedian: 1.5 } });
  });
  it("fails above the limit beyond doubt", () => {
    expect(of({ ratioMax: 1.2 }).verdict).toBe("fail");
    expect(of({ ratioMax: 1.6 }).verdict).toBe("pass");
    expect(of({ ratioMax: 1.2, ratios: [1.5, 1.5] }).verdict).toBe("pass");
  });
});

it("holds memory against the budget and names the running model's", () => {
  const gate = memoryGate({ ramPeakBytes: 3e6, ramPeakBytesMax: 2e6, oldRamPeakBytes: 1e6 });
  expect(gate).toMatchObject({ verdict: "fail", numbers: { oldRamPeakBytes: 1e6 } });
  expect(gate.why).toMatch(/3.0 MB, the running model's 1.0 MB \(2.0 MB allowed\)/);
});
