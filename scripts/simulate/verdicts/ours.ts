/** The judge of the product on a simulated fleet, looking after every single entry. */
import type { EvidenceEntry } from "../../../controller/rollout/evidence/entry.ts";
import { createEvidence } from "../../../controller/rollout/evidence/evidence.ts";
import { type EvidenceVerdict, judge } from "../../../controller/rollout/evidence/judge.ts";
import { defaultRules, type EvidenceRules } from "../../../controller/rollout/evidence/rules.ts";
import { seededRandom } from "../../../shared/prng.ts";
import { happens, shuffle } from "./draws.ts";
import { dropOf, type SimulatedPair, strata } from "./fleet.ts";

/** Live accuracy after a week as the signal. */
export const simulatedRules: EvidenceRules = {
  ...defaultRules,
  signals: [{ ...defaultRules.signals[0]!, name: "accuracy", horizonsMs: [7 * 86_400_000] }],
  strata: [...strata],
};

/** What is in the ledger of such a rollout: all offers of the stage, then what each pair comes to. */
export function entriesOf(pairs: readonly SimulatedPair[]): EvidenceEntry[] {
  const offers = pairs.map(({ stratum }, place): EvidenceEntry => {
    return { kind: "offered", device: `canary-${place}`, stratum, place };
  });
  return [...offers, ...pairs.flatMap((pair, at) => answersOf(pair, at, "accuracy"))];
}

/** What one pair comes to, with its drop as that signal. */
export function answersOf(pair: SimulatedPair, at: number, signal: string): EvidenceEntry[] {
  const { stratum, canary, control } = pair;
  const device = `canary-${at}`;
  const harmed = canary.silent || canary.trial !== "passed";
  const silent = canary.silent || control.silent;
  const name = `pair-${at}`;
  const soaked: EvidenceEntry[] = [
    { kind: "trial", device, stratum, result: canary.trial },
    { kind: "soaked", device, stratum, harmed },
    {
      kind: "pair-harm",
      pair: name,
      stratum,
      canary: harmed,
      control: control.silent || control.trial !== "passed",
    },
  ];
  if (silent) return soaked;
  const drop = dropOf(pair);
  return [...soaked, { kind: "pair", pair: name, stratum, signal, horizon: 0, drop, shard: null }];
}

/** What speaks against the release is told first: rollbacks are quicker than commits. */
export function worstFirst(entries: readonly EvidenceEntry[]): EvidenceEntry[] {
  const rank = (entry: EvidenceEntry) => {
    if (entry.kind === "offered") return 0;
    const speaksAgainst =
      (entry.kind === "trial" && entry.result !== "passed") ||
      (entry.kind === "soaked" && entry.harmed);
    return speaksAgainst ? 1 : 2;
  };
  return entries.toSorted((a, b) => rank(a) - rank(b));
}

/** Each answer twice with probability 0.2, and all of them in any order. */
export function disordered(entries: readonly EvidenceEntry[], seed: number): EvidenceEntry[] {
  const random = seededRandom(seed);
  const offers = entries.filter(({ kind }) => kind === "offered");
  const answers = entries.filter(({ kind }) => kind !== "offered");
  const doubled = answers.flatMap((entry) => (happens(random, 0.2) ? [entry, entry] : [entry]));
  return [...offers, ...shuffle(random, doubled)];
}

export interface Judged {
  readonly verdict: EvidenceVerdict["kind"];
  /** Pairs that had been compared when the verdict fell. */
  readonly pairs: number;
}

/** The first rollback or promotion, or "inconclusive" after the last entry. */
export function judgeAll(rules: EvidenceRules, entries: readonly EvidenceEntry[]): Judged {
  const evidence = createEvidence(rules);
  const standing = { open: 1, shareAfterNext: 1, overdue: false, excluded: [] };
  for (const entry of entries) {
    evidence.add(entry);
    const { kind } = judge(rules, evidence, standing);
    if (kind === "roll-back" || kind === "promote")
      return { verdict: kind, pairs: evidence.counts().pairs };
  }
  return { verdict: "inconclusive", pairs: evidence.counts().pairs };
}

/** What is taken back when strata go alone and the others go on, to the end of the entries. */
export interface TakenBack {
  readonly strata: readonly string[];
  /** The whole rollout was stopped. */
  readonly whole: boolean;
}

export function judgeStrata(rules: EvidenceRules, entries: readonly EvidenceEntry[]): TakenBack {
  const evidence = createEvidence(rules);
  const excluded: string[] = [];
  for (const entry of entries) {
    evidence.add(entry);
    const standing = { open: 1, shareAfterNext: 1, overdue: false, excluded };
    const verdict = judge(rules, evidence, standing);
    if (verdict.kind !== "roll-back") continue;
    if (verdict.stratum === undefined) return { strata: excluded, whole: true };
    excluded.push(verdict.stratum);
  }
  return { strata: excluded, whole: false };
}
