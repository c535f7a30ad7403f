/** The verdicts of a soak: what each rests on, and how often it is wrong on healthy models. */
import { describe, expect, it } from "vitest";
import {
  certainty,
  emptyHistograms,
  shiftWarnings,
  withScores,
} from "../../../../agent/soak/histograms.ts";
import { allowedDisagreement, goldenOf, judgeSoak } from "../../../../agent/soak/judge.ts";
import { noCounts, type SoakCounts, type SoakFacts } from "../../../../agent/soak/soak-state.ts";
import { soakOf } from "../../../../controller/soak/policy.ts";
import { seededRandom } from "../../../../shared/prng.ts";
import type { GateResult } from "../../../../shared/protocol/messages/attempt-outcome.ts";

const facts: SoakFacts = {
  attempt: "a-1",
  model: "digits",
  version: "2",
  arm: "canary",
  bundleSha256: "a".repeat(64),
  slot: "b",
  previous: { slot: "a", bundleSha256: "b".repeat(64) },
  spec: soakOf(3_600_000, {}, [])!,
  alphaDevice: 0.001,
  golden: null,
  disagreementMax: 0.02,
  before: { calls: 100_000, crashes: 0 },
  startedMs: 0,
};
const judge = (counts: Partial<SoakCounts>, change: Partial<SoakFacts> = {}) =>
  judgeSoak({ ...facts, ...change }, { ...noCounts(), ...counts });

describe("crashes in service", () => {
  it("take a model back at the second one, if they are no rarity", () => {
    expect(judge({ crashes: 1 })).toBeUndefined();
    expect(judge({ crashes: 2 })).toMatchObject({ verdict: "rolled-back", code: "soak-crashes" });
    // One hang in a thousand inputs.
    expect(judge({ crashes: 2, calls: 2_000 })).toMatchObject({ code: "soak-crashes" });
    expect(judge({ crashes: 2, calls: 20_000 })).toBeUndefined();
    expect(judge({ crashes: 3, calls: 3_000_000 })).toBeUndefined();
  });
  it("are no fault of a model on a device that killed the one before as often", () => {
    const before = { calls: 3_000, crashes: 3 };
    expect(judge({ crashes: 3, calls: 3_000 }, { before })).toBeUndefined();
    expect(judge({ crashes: 30, calls: 500 }, { before })).toMatchObject({
      code: "soak-crashes",
    });
  });
  it("are not judged on a control", () => {
    expect(judge({ crashes: 9 }, { previous: null })).toBeUndefined();
  });
});

describe("disagreement", () => {
  it("asks for labels and never takes back, however large it is", () => {
    expect(judge({ compared: 5_000, disagreed: 5_000 })).toMatchObject({ verdict: "paused" });
    expect(judge({ compared: 5_000, disagreed: 5_000, reached: ["paused"] })).toBeUndefined();
  });
  it("certifies when it is rare", () => {
    expect(judge({ compared: 100, disagreed: 0 })).toBeUndefined();
    expect(judge({ compared: 2_600, disagreed: 26 })).toMatchObject({ verdict: "certified" });
  });
  it("alarms falsely in fewer than 1 of 1,000 soaks, whenever it is looked at", () => {
    const random = seededRandom(17);
    const inputs = 1_000;
    const soaks = 400;
    let alarms = 0;
    for (let soak = 0; soak < soaks; soak++) {
      let disagreed = 0;
      for (let compared = 1; compared <= inputs; compared++) {
        if (random.nextFloat() < facts.disagreementMax) disagreed++;
        if (compared % 10 === 0 && judge({ compared, disagreed })?.verdict === "paused") {
          alarms++;
          break;
        }
      }
    }
    // P(Bin(400, 1/1000) > 4) < 1e-4.
    expect(alarms).toBeLessThanOrEqual(4);
  }, 60_000);
  it("is expected where the release repairs much", () => {
    const gate: GateResult = {
      gate: "paired-metric",
      verdict: "pass",
      why: "",
      numbers: { worse: 10, better: 90, n: 1_000 },
    };
    expect(allowedDisagreement(0.02, [gate])).toBeCloseTo(0.12, 2);
    expect(allowedDisagreement(0.02, [])).toBe(0.02);
  });
});

describe("labels", () => {
  it("take a model back when those that got worse outweigh the others", () => {
    expect(judge({ worse: 10, better: 9, labelled: 19 })).toBeUndefined();
    expect(judge({ worse: 25, better: 2, labelled: 27 })).toMatchObject({ code: "soak-labels" });
    expect(judge({ worse: 2, better: 25, labelled: 27 })).toBeUndefined();
  });
});

describe("the golden metric of both models", () => {
  it("follows from the gates of the trial", () => {
    const gates: GateResult[] = [
      { gate: "metric-floor", verdict: "pass", why: "", numbers: { value: 0.9, n: 100 } },
      { gate: "paired-metric", verdict: "pass", why: "", numbers: { worse: 5, better: 1, n: 100 } },
    ];
    const golden = goldenOf(gates);
    expect(golden?.before.mean).toBeCloseTo(0.94);
    expect(golden?.after).toEqual({ mean: 0.9, n: 100 });
    expect(goldenOf(gates.slice(0, 1))).toBeNull();
  });
});

describe("histograms of certainty", () => {
  it("know how sure scores are, also hostile ones", () => {
    expect(certainty([1, 0, 0, 0])).toEqual({ confidence: 1, margin: 1, entropy: 0 });
    expect(certainty([0.25, 0.25, 0.25, 0.25]).entropy).toBeCloseTo(1);
    expect(certainty([Number.NaN, 7])).toEqual({ confidence: 1, margin: 1, entropy: 0 });
    expect(certainty([])).toEqual({ confidence: 0, margin: 0, entropy: 0 });
  });
  it("warn of a shift and only of a shift", () => {
    const random = seededRandom(3);
    const of = (shift: number) => {
      let histograms = emptyHistograms();
      for (let input = 0; input < 500; input++) {
        const sure = 0.5 + random.nextFloat() * 0.3;
        const less = sure - shift;
        histograms = withScores(histograms, [less, 1 - less], [sure, 1 - sure]);
      }
      return shiftWarnings(histograms);
    };
    expect(of(0)).toEqual([]);
    expect(of(0.1)).not.toEqual([]);
  });
});
