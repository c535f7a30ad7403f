/** The evidence of a rollout and its verdicts: what counts, what decides, and what may never decide. */
import { describe, expect, it } from "vitest";
import type { EvidenceEntry } from "../../../../controller/rollout/evidence/entry.ts";
import { createEvidence } from "../../../../controller/rollout/evidence/evidence.ts";
import {
  expansionRate,
  judge,
  type StageStanding,
} from "../../../../controller/rollout/evidence/judge.ts";
import { drawPairs } from "../../../../controller/rollout/evidence/pairing.ts";
import {
  devicesToPromote,
  pairsToPromote,
  powerOf,
} from "../../../../controller/rollout/evidence/power.ts";
import {
  defaultRules,
  type EvidenceRules,
  errorShares,
  evidenceRulesSchema,
  seriesShare,
} from "../../../../controller/rollout/evidence/rules.ts";
import { signalsFor } from "../../../../controller/rollout/evidence/signals.ts";
import { horizonsOf, soakOf } from "../../../../controller/soak/policy.ts";
import { soakSchema } from "../../../../shared/artifact/soak.ts";
import { seededRandom } from "../../../../shared/prng.ts";

const rules: EvidenceRules = { ...defaultRules, strata: ["eu/camera", "us/camera"] };
const stratum = "eu/camera";
const late: StageStanding = { open: 0, shareAfterNext: 1, overdue: true, excluded: [] };
const early: StageStanding = { open: 0, shareAfterNext: 0.1, overdue: false, excluded: [] };
const none: ReadonlySet<string> = new Set();

const pair = (at: number, drop: number, change = {}): EvidenceEntry => {
  const signal = "golden-metric";
  return {
    kind: "pair",
    pair: `p-${at}`,
    stratum,
    signal,
    horizon: 0,
    drop,
    shard: null,
    ...change,
  };
};
const trial = (at: number, result: "passed" | "rolled-back" | "failed"): EvidenceEntry => {
  return { kind: "trial", device: `d-${at}`, stratum, result };
};
const offered = (at: number, place: number | null = null): EvidenceEntry => {
  return { kind: "offered", device: `d-${at}`, stratum, place };
};
const soaked = (at: number, harmed: boolean): EvidenceEntry => {
  return { kind: "soaked", device: `d-${at}`, stratum, harmed };
};
const many = (n: number, entry: (at: number) => EvidenceEntry) =>
  Array.from({ length: n }, (_, at) => entry(at));

function evidenceOf(entries: readonly EvidenceEntry[], ruled = rules) {
  const evidence = createEvidence(ruled);
  for (const entry of entries) evidence.add(entry);
  return evidence;
}
const verdictOf = (entries: readonly EvidenceEntry[], standing = late, ruled = rules) =>
  judge(ruled, evidenceOf(entries, ruled), standing);

describe("evidence", () => {
  it("spends exactly the promised error", () => {
    const total = Object.values(errorShares).reduce((sum, share) => sum + share, 0);
    expect(total).toBeCloseTo(1, 12);
    expect(evidenceRulesSchema.parse(rules)).toEqual(rules);
  });
  it("counts an entry once, whatever the copies say", () => {
    const evidence = evidenceOf([pair(1, 0.5)]);
    const before = evidence.stopping(none);
    expect(evidence.add(pair(1, 0.5))).toBe(false);
    expect(evidence.add(pair(1, -0.9))).toBe(false);
    expect(evidence.stopping(none)).toEqual(before);
    expect(evidence.counts().pairs).toBe(1);
  });
  it("comes to the same values in any split, and to the same verdict in any order", () => {
    const random = seededRandom(3);
    const entries = [
      ...many(40, (at) => pair(at, random.nextFloat() / 20, { stratum: rules.strata[at % 2] })),
      ...many(40, (at) => trial(at, at % 19 === 3 ? "rolled-back" : "passed")),
      ...many(40, (at) => soaked(at, at % 19 === 3)),
    ];
    const whole = evidenceOf(entries);
    const split = createEvidence(rules);
    for (const [at, entry] of entries.entries()) {
      split.add(entry);
      // A look in between must not change what comes after.
      if (at % 7 === 0) split.stopping(none);
    }
    expect(split.stopping(none)).toEqual(whole.stopping(none));
    expect(split.promoting()).toEqual(whole.promoting());
    const backwards = evidenceOf(entries.toReversed());
    for (const [at, test] of whole.stopping(none).entries()) {
      const same = backwards
        .stopping(none)
        .find((one) => one.name === test.name && one.stratum === test.stratum);
      expect(same?.logE, `test ${at}`).toBeCloseTo(test.logE, 9);
    }
  });
  it("refuses what its rules do not name", () => {
    expect(() => evidenceOf([pair(1, 0, { stratum: "moon/camera" })])).toThrow("no stratum");
    expect(() => evidenceOf([pair(1, 0, { signal: "luck" })])).toThrow("no signal");
  });
});

describe("a verdict", () => {
  it("rolls back on pairs, on gates, on failures and on harm, each alone", () => {
    const cases: [string, EvidenceEntry[]][] = [
      ["pairs golden-metric", many(30, (at) => pair(at, 0.05 + (at % 3) / 100))],
      ["first-trials", [offered(0, 0), offered(1, 1), trial(1, "passed"), trial(0, "rolled-back")]],
      ["gate-rollbacks", many(4, (at) => trial(at, at < 2 ? "rolled-back" : "passed"))],
      ["failures", many(16, (at) => trial(at, at % 2 === 0 ? "failed" : "passed"))],
      [
        "harm",
        many(16, (at): EvidenceEntry => {
          return { kind: "pair-harm", pair: `p-${at}`, stratum, canary: true, control: false };
        }),
      ],
    ];
    for (const [name, entries] of cases) {
      const verdict = verdictOf(entries);
      expect(verdict.kind, name).toBe("roll-back");
      expect(verdict.why).toContain(name);
    }
  });
  it("makes no evidence of the order of answers", () => {
    const offers = many(1_000, (at) => offered(at, at));
    // Two of a thousand healthy devices roll back, and they are the first to answer.
    const quick = [trial(500, "rolled-back"), trial(501, "rolled-back")];
    expect(verdictOf([...offers, ...quick], early).kind).not.toBe("roll-back");
    expect(verdictOf(quick, early).kind).toBe("roll-back");
    // Devices that are well answer before those that fell silent are known to be.
    const well = many(300, (at) => soaked(at, false));
    const pairs = many(320, (at) => pair(at, 0));
    const more = many(340, (at) => offered(at));
    expect(verdictOf([...more, ...well, ...pairs]).kind).toBe("inconclusive");
    expect(verdictOf([...more.slice(0, 300), ...well, ...pairs]).kind).toBe("promote");
  });
  it("hears of devices that take back what they committed", () => {
    const late = (at: number): EvidenceEntry => {
      return { kind: "taken-back", device: `d-${at}`, stratum };
    };
    const offers = many(10, (at) => offered(at, at));
    const passed = many(10, (at) => trial(at, "passed"));
    expect(verdictOf([...offers, ...passed, late(1)], early)).toMatchObject({ kind: "roll-back" });
    const beyond = verdictOf([...offers, ...passed, late(7), late(8)], early);
    expect(beyond).toMatchObject({ kind: "roll-back" });
    expect(beyond.why).toContain("gate-rollbacks");
  });
  it("bears one rollback beyond the first trials", () => {
    const offers = many(10, (at) => offered(at, at));
    expect(verdictOf([...offers, trial(2, "rolled-back")], early).kind).toBe("roll-back");
    expect(verdictOf([...offers, trial(3, "rolled-back")], early).kind).not.toBe("roll-back");
  });
  it("counts silence against the share that is borne where nobody is a control", () => {
    const ruled = { ...rules, judge: "device-gates" } as const;
    const silent = (n: number) => [
      ...many(100, (at) => offered(at)),
      ...many(n, (at) => soaked(at, true)),
    ];
    expect(verdictOf(silent(9), early, ruled).kind).not.toBe("roll-back");
    expect(verdictOf(silent(20), early, ruled)).toMatchObject({ kind: "roll-back" });
    expect(verdictOf(silent(20), early).kind).not.toBe("roll-back");
  });
  it("names the stratum that alone is bad", () => {
    const strata = Array.from({ length: 40 }, (_, at) => `s/${at}`);
    const ruled = { ...rules, strata };
    const evidence = createEvidence(ruled);
    for (const [at, healthy] of strata
      .slice(8)
      .flatMap((one) => many(20, () => pair(0, 0)).map(() => one))
      .entries())
      evidence.add(pair(at, at % 2 === 0 ? 0.02 : -0.02, { stratum: healthy }));
    let verdict = judge(ruled, evidence, late);
    for (let at = 0; at < 60 && verdict.kind !== "roll-back"; at++) {
      evidence.add(pair(10_000 + at, 0.05 + (at % 3) / 100, { stratum: "s/7" }));
      verdict = judge(ruled, evidence, late);
    }
    expect(verdict).toMatchObject({ kind: "roll-back", stratum: "s/7" });
  });
  it("takes one stratum back and asks again without it", () => {
    const strata = ["eu/camera", "eu/meter", "us/camera"];
    const ruled = { ...rules, strata };
    const entries = strata.flatMap((one, place) =>
      many(30, (at) => {
        const drop = one === "eu/meter" ? 0.08 + (at % 3) / 100 : at % 2 === 0 ? 0.02 : -0.02;
        return pair(100 * place + at, drop, { stratum: one });
      }),
    );
    const evidence = evidenceOf(entries, ruled);
    expect(judge(ruled, evidence, late)).toMatchObject({ kind: "roll-back", stratum: "eu/meter" });
    const without = { ...late, excluded: ["eu/meter"] };
    expect(judge(ruled, evidence, without).kind).not.toBe("roll-back");
    const names = evidence.stopping(new Set(without.excluded)).map(({ stratum }) => stratum);
    expect(names).not.toContain("eu/meter");
    // What it did stays in the claim.
    expect(evidence.meanDrop("golden-metric")).toBeGreaterThan(0.02);
    const whole = judge({ ...ruled, onStratumHarm: "stop" }, evidence, late);
    expect(whole.kind).toBe("roll-back");
    expect(whole).not.toHaveProperty("stratum");
  });
  it("waits for devices that can tell whether the harm of the fleet is that of one stratum", () => {
    const ruled = { ...rules, strata: ["eu/camera", "eu/meter", "us/camera"] };
    const entries = many(150, (at) => {
      const bad = at % 3 === 0;
      return pair(at, bad ? 0.2 : at % 2 === 0 ? 0.001 : -0.001, { stratum: ruled.strata[at % 3] });
    });
    const seen = evidenceOf(entries, ruled);
    const count = entries
      .map((_, n) => n)
      .find((n) => {
        const some = evidenceOf(entries.slice(0, n), ruled).stopping(none);
        return some.some(({ logE, logThreshold }) => logE >= logThreshold);
      });
    const first = evidenceOf(entries.slice(0, count), ruled);
    const open = { ...late, open: 3, overdue: false };
    const verdict = judge(ruled, first, open);
    expect(verdict).toMatchObject({ kind: "waiting" });
    expect(verdict.why).toContain("so far it shows in eu/camera alone");
    // Nobody is left who could tell, or the rule is to stop everything.
    expect(judge(ruled, first, late)).not.toHaveProperty("stratum");
    expect(judge(ruled, first, late).kind).toBe("roll-back");
    expect(judge({ ...ruled, onStratumHarm: "stop" }, first, open).kind).toBe("roll-back");
    expect(judge(ruled, seen, open)).toMatchObject({ kind: "roll-back", stratum: "eu/camera" });
  });
  it("stops the whole rollout when no other stratum is left, and on what devices say", () => {
    const bad = (one: string, first: number) =>
      many(30, (at) => pair(first + at, 0.08 + (at % 3) / 100, { stratum: one }));
    const both = evidenceOf([...bad("eu/camera", 0), ...bad("us/camera", 100)]);
    const first = judge(rules, both, late);
    expect(first).toMatchObject({ kind: "roll-back", stratum: "eu/camera" });
    const rest = judge(rules, both, { ...late, excluded: ["eu/camera"] });
    expect(rest.kind).toBe("roll-back");
    expect(rest).not.toHaveProperty("stratum");
    const one = { ...rules, strata: ["eu/camera"] };
    expect(judge(one, evidenceOf(bad("eu/camera", 0), one), late)).not.toHaveProperty("stratum");
    const failing = [...bad("eu/camera", 0), offered(0, 0), trial(0, "rolled-back")];
    const wide = verdictOf(failing);
    expect(wide.why).toContain("first-trials");
    expect(wide).not.toHaveProperty("stratum");
  });
  it("expands over the strata that are left, without those that were taken back", () => {
    const entries = [
      ...many(12, (at): EvidenceEntry => {
        const place = { ...offered(at), stratum: rules.strata[at % 2]! };
        return place as EvidenceEntry;
      }),
      ...many(12, (at) => trial(at, "passed")),
      ...many(12, (at): EvidenceEntry => {
        return {
          kind: "soaked",
          device: `d-${at}`,
          stratum: rules.strata[at % 2]!,
          harmed: at % 2 > 0,
        };
      }),
    ];
    expect(verdictOf(entries, early).kind).toBe("waiting");
    const left = { ...early, excluded: [rules.strata[1]!] };
    expect(verdictOf(entries, left).kind).toBe("expand");
    // A claim is about all of them.
    expect(evidenceOf(entries).harmed(none)).toEqual({ harmed: 6, well: 6 });
  });
  it("does not roll back on harm that the controls share", () => {
    const both = many(50, (at): EvidenceEntry => {
      return {
        kind: "pair-harm",
        pair: `p-${at}`,
        stratum,
        canary: at % 2 === 0,
        control: at % 2 === 1,
      };
    });
    expect(verdictOf(both).kind).not.toBe("roll-back");
  });
  it("promotes only with both proofs", () => {
    const pairs = many(320, (at) => pair(at, 0));
    const devices = many(320, (at) => soaked(at, false));
    expect(verdictOf([...pairs, ...devices])).toMatchObject({ kind: "promote" });
    expect(verdictOf(pairs).kind).toBe("inconclusive");
    expect(verdictOf(devices).kind).toBe("inconclusive");
    // Pairs look perfect when those who fell silent have none.
    const silent = many(320, (at) => soaked(at, at % 10 === 0));
    expect(verdictOf([...pairs, ...silent]).kind).toBe("inconclusive");
  });
  it("expands on less, and calls it that", () => {
    const few = [
      ...many(6, (at) => trial(at, "passed")),
      ...many(6, (at) => soaked(at, false)),
      ...many(3, (at) => pair(at, 0.001)),
    ];
    const verdict = verdictOf(few, early);
    expect(verdict.kind).toBe("expand");
    expect(verdict.why).toContain("an expansion, not a claim");
    expect(verdictOf(few, { ...early, shareAfterNext: 0.26 }).kind).toBe("inconclusive");
    expect(verdictOf(few, { ...early, open: 1 }).kind).toBe("waiting");
  });
  it("does not expand over harmed devices or half a proof of harm", () => {
    const harmed = [
      ...many(5, (at) => soaked(at, at === 0)),
      ...many(5, (at) => trial(at, "passed")),
    ];
    expect(verdictOf(harmed, early).kind).toBe("waiting");
    expect(verdictOf(harmed, { ...early, overdue: true }).kind).toBe("inconclusive");
    const suspect = [...many(9, (at) => pair(at, 0.03)), ...many(9, (at) => soaked(at, false))];
    expect(verdictOf(suspect, early)).toMatchObject({ kind: "waiting" });
    // One silent device in many is what a fleet has anyway.
    const usual = many(60, (at) => soaked(at, at === 0));
    expect(verdictOf(usual, early).kind).toBe("expand");
  });
  it("never waits past the deadline, and says how many pairs are missing", () => {
    const verdict = verdictOf(
      many(20, (at) => pair(at, 0)),
      { ...late, open: 5 },
    );
    expect(verdict.kind).toBe("inconclusive");
    const needed = pairsToPromote(rules, rules.signals[0]!);
    expect(verdict.kind === "inconclusive" && verdict.pairsMore).toBe(needed - 20);
    expect(verdict.why).toContain("2.00 %");
  });
  it("of planned looks decides at them alone", () => {
    const ruled = { ...rules, judge: "group-sequential", pairsPlanned: 50 } as const;
    const bad = many(50, (at) => pair(at, 0.02 + (at % 5) / 100));
    expect(verdictOf(bad.slice(0, 9), late, ruled).kind).toBe("inconclusive");
    expect(verdictOf(bad.slice(0, 20), late, ruled)).toMatchObject({ kind: "roll-back" });
    expect(
      evidenceOf(bad, ruled)
        .stopping(none)
        .filter(({ name }) => name.startsWith("look")),
    ).toHaveLength(5);
  });
});

describe("live signals", () => {
  const hourMs = 3_600_000;
  const live: EvidenceRules = { ...rules, signals: signalsFor([hourMs, 6 * hourMs]) };
  const rise = (n: number, signal: string, drop: number, horizon = 0) =>
    many(n, (at) => pair(at, drop + (at % 3) / 100, { signal, horizon }));
  it("have a third of what pairs may spend, and all of it is spent once", () => {
    const spent = live.signals
      .filter(({ rollsBack }) => rollsBack)
      .map((signal) => seriesShare(live, signal) * signal.horizonsMs.length);
    expect(spent[0]).toBeCloseTo(2 / 3, 12);
    expect(spent.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 12);
    expect(evidenceRulesSchema.parse(live)).toEqual(live);
  });
  it("each take a release back, and say which, when and by how much", () => {
    const verdict = verdictOf(rise(30, "errors", 0.04), late, { ...live, strata: [stratum] });
    expect(verdict).toMatchObject({ kind: "roll-back" });
    expect(verdict.why).toContain("pairs errors after 1 h");
    expect(verdict.why).toContain("share of calls without an answer rose by 5.00 points");
    expect(verdict.why).toContain("(30 pairs)");
    const slow = verdictOf(rise(30, "over-slo", 0.1, 1), late, { ...live, strata: [stratum] });
    expect(slow.why).toContain("pairs over-slo after 6 h");
  });
  it("bear a share over the objective that grew by a point, and no error more", () => {
    expect(verdictOf(rise(200, "over-slo", -0.001), late, live).kind).not.toBe("roll-back");
    expect(verdictOf(rise(200, "errors", -0.001), late, live).kind).toBe("roll-back");
  });
  it("of agreement stop nothing: every new model differs a little", () => {
    const evidence = evidenceOf(rise(200, "agreement", 0.05), live);
    expect(judge(live, evidence, late).kind).not.toBe("roll-back");
    const seen = evidence.series(none).find(({ signal }) => signal === "agreement");
    expect(seen).toMatchObject({ pairs: 200, horizonMs: hourMs, promotes: false, test: undefined });
    expect(seen?.meanDrop).toBeCloseTo(0.06, 3);
  });
  it("promote nothing and keep nothing waiting, whether they are there or not", () => {
    const proven = [...many(320, (at) => pair(at, 0)), ...many(320, (at) => soaked(at, false))];
    expect(verdictOf(proven, late, live).kind).toBe("promote");
    const quiet = [...proven, ...many(320, (at) => pair(at, -0.01, { signal: "errors" }))];
    expect(verdictOf(quiet, late, live).kind).toBe("promote");
    const onlyLive = many(900, (at) => pair(at, 0, { signal: "errors" }));
    expect(
      verdictOf([...onlyLive, ...many(320, (at) => soaked(at, false))], late, live),
    ).toMatchObject({ kind: "inconclusive", pairsMore: pairsToPromote(live, live.signals[0]!) });
  });
  it("say their power before the start", () => {
    const { why } = powerOf(live, { devices: 1_400, pairsMax: 700 });
    expect(why).toMatch(/errors \+5 points in \d+ pairs, over-slo \+10 points in \d+ pairs/);
    expect(why).not.toContain("agreement");
  });
});

describe("the horizons of a rollout", () => {
  const hourMs = 3_600_000;
  const stages = (...soaks: number[]) => soaks.map((soakMs) => ({ soakMs }));
  it("are those that devices are ordered to report, the first of them before a stage goes on", () => {
    const byDefault = horizonsOf(72 * hourMs, stages(hourMs / 2, hourMs / 2, hourMs / 2, 0));
    expect(byDefault).toEqual([hourMs / 4, hourMs, 6 * hourMs, 72 * hourMs]);
    expect(soakOf(72 * hourMs, {}, byDefault)?.horizonsMs).toEqual(byDefault);
    expect(soakSchema.safeParse(soakOf(72 * hourMs, {}, byDefault)).success).toBe(true);
  });
  it("end with the time that devices watch, and are none without it", () => {
    expect(horizonsOf(hourMs / 2, stages(4 * hourMs))).toEqual([hourMs / 2]);
    expect(horizonsOf(0, stages(hourMs))).toEqual([]);
    expect(
      horizonsOf(72 * hourMs, stages(...many(20, offered).map((_, at) => (at + 1) * 2_000))),
    ).toHaveLength(8);
  });
});

describe("what a fleet can prove", () => {
  it("is said before the start", () => {
    const small = powerOf(rules, { devices: 120, pairsMax: 60 });
    expect(small).toMatchObject({ canPromote: false, pairsPossible: 30 });
    expect(small.why).toContain("cannot prove");
    const large = powerOf(rules, { devices: 1_400, pairsMax: 700 });
    expect(large).toMatchObject({ canPromote: true, dropSeen: 0.01 });
    expect(large.why).toContain("10 in 10,000");
    expect(powerOf(rules, { devices: 4, pairsMax: 2 }).dropSeen).toBeNull();
  });
  it("agrees with the verdict", () => {
    const n = pairsToPromote(rules, rules.signals[0]!);
    const devices = many(n, (at) => soaked(at, false));
    const pairs = many(n, (at) => pair(at, 0));
    expect(devicesToPromote(rules)).toBeLessThan(n);
    expect(verdictOf([...devices, ...pairs]).kind).toBe("promote");
    expect(verdictOf([...devices, ...pairs.slice(1)]).kind).toBe("inconclusive");
  });
  it("lets a large stage bear one silent device and a small one none", () => {
    expect(expansionRate(3, 0.05)).toBeGreaterThan(0.5);
    expect(expansionRate(200, 0.05)).toBeLessThan(0.12);
  });
});

describe("pairs", () => {
  const devices = Array.from({ length: 21 }, (_, at) => {
    return { id: `d-${at}`, region: at % 3 === 0 ? "eu" : "us", deviceClass: "camera" };
  });
  it("stay within their stratum and take each device once", () => {
    const { pairs, rest } = drawPairs(devices, { seed: 5, first: 10 });
    const taken = pairs.flatMap(({ canary, control }) => [canary, control]);
    expect(new Set([...taken, ...rest]).size).toBe(21);
    expect(pairs.map(({ pair }) => pair)).toEqual(pairs.map((_, at) => `p-${10 + at}`));
    const regionOf = (id: string) => devices.find((device) => device.id === id)?.region;
    for (const { canary, control, stratum } of pairs) {
      expect(regionOf(canary)).toBe(regionOf(control));
      expect(stratum).toBe(`${regionOf(canary)}/camera`);
    }
  });
  it("are drawn by the seed alone, and fairly", () => {
    const draw = (seed: number, of = devices) => drawPairs(of, { seed, first: 0 });
    expect(draw(1, devices.toReversed())).toEqual(draw(1));
    expect(draw(2)).not.toEqual(draw(1));
    const canaries = Array.from({ length: 2_000 }, (_, seed) => draw(seed)).filter(({ pairs }) =>
      pairs.some(({ canary }) => canary === "d-1"),
    ).length;
    // One of 14 devices in its stratum: in half of the draws it is a canary.
    expect(Math.abs(canaries - 1_000)).toBeLessThan(3 * Math.sqrt(500));
  });
});
