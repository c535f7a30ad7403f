/**
 * Every study of the verdict benchmark: one simulated situation, how often it is run, and what share of
 * runs may or must end in the event that is counted. A new one is one line here.
 */
import { createEvidence } from "../../../controller/rollout/evidence/evidence.ts";
import type { EvidenceRules } from "../../../controller/rollout/evidence/rules.ts";
import {
  type FleetOptions,
  healthyFleet,
  type SimulatedPair,
  simulateFleet,
  strata,
} from "./fleet.ts";
import { type LiveOptions, liveEntries, liveRules } from "./live.ts";
import {
  disordered,
  entriesOf,
  judgeAll,
  judgeStrata,
  simulatedRules,
  worstFirst,
} from "./ours.ts";
import * as rivals from "./rivals.ts";

export interface Study {
  readonly name: string;
  readonly group: "null" | "power" | "harm" | "healthy" | "e-value" | "rival";
  readonly runs: number;
  /** The counted share must be at most or at least this, give or take 3 standard errors. */
  readonly limit: { readonly kind: "at-most" | "at-least"; readonly share: number };
  /** What is counted in one run: 1 or 0, or an e-value. */
  readonly run: (seed: number) => number;
}

const nullRuns = 20_000;
const powerRuns = 2_000;
const { alphaRollout, beta } = simulatedRules;

type Judge = (pairs: readonly SimulatedPair[], seed: number) => number;

const ours =
  (verdict: "roll-back" | "promote", rules: EvidenceRules = simulatedRules): Judge =>
  (pairs) =>
    judgeAll(rules, entriesOf(pairs)).verdict === verdict ? 1 : 0;

const judgedWorstFirst: Judge = (pairs) =>
  judgeAll(simulatedRules, worstFirst(entriesOf(pairs))).verdict === "roll-back" ? 1 : 0;

const judgedOutOfOrder: Judge = (pairs, seed) =>
  judgeAll(simulatedRules, disordered(entriesOf(pairs), seed)).verdict === "roll-back" ? 1 : 0;

/** The e-value of the fleet's pairs when its own rule stops, or at the end. */
const stoppedEValue: Judge = (pairs) => {
  const evidence = createEvidence(simulatedRules);
  const value = () => evidence.stopping(new Set()).findLast(({ stratum }) => stratum === undefined);
  for (const entry of entriesOf(pairs)) {
    evidence.add(entry);
    const now = value();
    if (now !== undefined && now.logE >= now.logThreshold) break;
  }
  return Math.exp(value()?.logE ?? 0);
};

const deviceGates: EvidenceRules = { ...simulatedRules, judge: "device-gates" };

const groupSequential = (pairs: number): EvidenceRules => ({
  ...simulatedRules,
  judge: "group-sequential",
  pairsPlanned: pairs,
});

const on =
  (fleet: Partial<FleetOptions>, judge: Judge) =>
  (seed: number): number =>
    judge(simulateFleet({ ...healthyFleet, ...fleet }, seed), seed);

const rival =
  (judge: rivals.Rival): Judge =>
  (pairs, seed) =>
    judge(pairs, seed) ? 1 : 0;
const unlessRival =
  (judge: rivals.Rival): Judge =>
  (pairs, seed) =>
    judge(pairs, seed) ? 0 : 1;

function nullStudy(name: string, fleet: Partial<FleetOptions>, judge = ours("roll-back")): Study {
  const limit = { kind: "at-most", share: alphaRollout } as const;
  return { name: `null: ${name}`, group: "null", runs: nullRuns, limit, run: on(fleet, judge) };
}

/** `power` is what the product states: a rollback within `pairs` pairs of a mean drop of `points`. */
function powerStudy(points: number, pairs: number, power: number): Study {
  const harm = { share: 1, drop: points / 100 };
  return {
    name: `power: ${points} pp in ${pairs} pairs`,
    group: "power",
    runs: powerRuns,
    limit: { kind: "at-least", share: power },
    run: on({ pairs, harm }, ours("roll-back")),
  };
}

const healthyService: LiveOptions["harm"] = { errors: 0, overSlo: 0 };
const rolledBackInService =
  (pairs: number, harm: LiveOptions["harm"]) =>
  (seed: number): number =>
    judgeAll(liveRules, liveEntries({ pairs, harm }, seed)).verdict === "roll-back" ? 1 : 0;

/** In service: a rollback within `pairs` pairs when a share of calls gets worse. */
function livePowerStudy(words: string, pairs: number, harm: Partial<LiveOptions["harm"]>): Study {
  return {
    name: `power: ${words} in ${pairs} pairs`,
    group: "power",
    runs: powerRuns,
    limit: { kind: "at-least", share: 0.95 },
    run: rolledBackInService(pairs, { ...healthyService, ...harm }),
  };
}

const [badStratum] = strata;
/** One stratum of four loses ten points, and is taken back while the others go on. */
const oneBad = { pairs: 160, harm: { share: 1, drop: 0.1, stratum: badStratum } };

/** A healthy stratum is taken back though only another one does harm. */
const takesHealthyBack: Judge = (pairs) => {
  const taken = judgeStrata(simulatedRules, entriesOf(pairs));
  return taken.strata.some((stratum) => stratum !== badStratum) ? 1 : 0;
};
const takesOneBack: Judge = (pairs) => {
  const { strata: taken, whole } = judgeStrata(simulatedRules, entriesOf(pairs));
  return !whole && taken.length === 1 && taken[0] === badStratum ? 1 : 0;
};

/** Pairs of the studies of promotion: enough for a healthy release. */
const promotionPairs = 600;

function harmStudy(percent: number): Study {
  const share = percent / 100;
  const harm = { share, drop: simulatedRules.signals[0]!.deltaMax / share };
  return {
    name: `promoted though ${percent} % of the devices lose ${(harm.drop * 100).toFixed(0)} pp`,
    group: "harm",
    runs: powerRuns,
    limit: { kind: "at-most", share: beta },
    run: on({ pairs: promotionPairs, harm }, ours("promote")),
  };
}

/** A rival is seen to fail when it stops healthy releases, or misses bad ones, at least this often. */
function rivalStudy(
  name: string,
  share: number,
  judge: Judge,
  fleet: Partial<FleetOptions> = {},
): Study {
  const limit = { kind: "at-least", share } as const;
  return { name: `rival: ${name}`, group: "rival", runs: powerRuns, limit, run: on(fleet, judge) };
}

const worse = { harm: { share: 1, drop: 0.02 } };
const concentrated = { harm: { share: 0.1, drop: 0.2 }, pairs: 200 };

export const studies: readonly Study[] = [
  ...[0, 2, 4, 6].map((points) =>
    nullStudy(`device spread ${points} pp`, { spread: points / 100 }),
  ),
  nullStudy("heavy tails", { tails: "heavy" }),
  nullStudy("unequal soak", { unequalSoak: true }),
  nullStudy("10 % silent", { silence: 0.1 }),
  nullStudy("1.8 % of attempts fail", { failures: 0.018 }),
  nullStudy("doubled and out of order", {}, judgedOutOfOrder),
  nullStudy(
    "rollbacks and silence are told first",
    { pairs: 300, silence: 0.05 },
    judgedWorstFirst,
  ),
  nullStudy("device gates alone, rollbacks told first", { pairs: 300, failures: 0.018 }, (pairs) =>
    judgeAll(deviceGates, worstFirst(entriesOf(pairs))).verdict === "roll-back" ? 1 : 0,
  ),
  nullStudy(
    "all of these",
    { spread: 0.06, tails: "heavy", unequalSoak: true, silence: 0.05, failures: 0.018 },
    judgedOutOfOrder,
  ),
  nullStudy("healthy strata beside one that does harm", oneBad, takesHealthyBack),
  {
    name: "null: live signals at two horizons",
    group: "null",
    runs: nullRuns,
    limit: { kind: "at-most", share: alphaRollout },
    run: rolledBackInService(80, healthyService),
  },
  nullStudy("group-sequential", {}, ours("roll-back", groupSequential(healthyFleet.pairs))),
  {
    name: "mean e-value at the stop",
    group: "e-value",
    runs: nullRuns,
    limit: { kind: "at-most", share: 1 },
    run: on({}, stoppedEValue),
  },
  powerStudy(1, 150, 0.95),
  powerStudy(2, 50, 0.95),
  powerStudy(3, 30, 0.9),
  powerStudy(5, 30, 0.99),
  livePowerStudy("errors +5 points", 40, { errors: 0.05 }),
  livePowerStudy("late answers +10 points", 60, { overSlo: 0.1 }),
  {
    name: "power: one stratum that loses 10 pp is taken back alone",
    group: "power",
    runs: powerRuns,
    limit: { kind: "at-least", share: 0.95 },
    run: on(oneBad, takesOneBack),
  },
  {
    name: "power: group-sequential, 1 pp in 100 pairs",
    group: "power",
    runs: powerRuns,
    limit: { kind: "at-least", share: 0.95 },
    run: on({ harm: { share: 1, drop: 0.01 } }, ours("roll-back", groupSequential(100))),
  },
  ...[3, 5, 10, 20, 100].map(harmStudy),
  {
    name: `healthy, promoted within ${promotionPairs} pairs`,
    group: "healthy",
    runs: powerRuns,
    limit: { kind: "at-least", share: 0.95 },
    run: on({ pairs: promotionPairs }, ours("promote")),
  },
  rivalStudy("pooled z-test stops a healthy release", 0.1, rival(rivals.pooledZTest)),
  rivalStudy("shared golden set stops a healthy release", 0.1, rival(rivals.sharedGoldenSet)),
  rivalStudy("Argo-like stops a healthy release", 0.35, rival(rivals.argoLike)),
  rivalStudy("Flagger-like misses 2 pp", 0.5, unlessRival(rivals.flaggerLike), worse),
  rivalStudy("AWS-like misses 2 pp", 0.5, unlessRival(rivals.awsLike), worse),
  rivalStudy("reversed process promotes harm", 0.1, rival(rivals.reversedSymmetric), concentrated),
];

export interface StudyResult {
  readonly name: string;
  readonly runs: number;
  /** Mean of what was counted. */
  readonly value: number;
  /** Limit with 3 standard errors of `runs` runs. */
  readonly limit: number;
  readonly ok: boolean;
}

/** Sums of a part of the runs, so that several processes can share a study. */
export interface Tally {
  readonly runs: number;
  readonly sum: number;
  readonly squares: number;
}

export function runStudy(study: Study, seeds: { from: number; runs: number }): Tally {
  let sum = 0;
  let squares = 0;
  for (let at = 0; at < seeds.runs; at++) {
    const value = study.run(seeds.from + at);
    sum += value;
    squares += value * value;
  }
  return { runs: seeds.runs, sum, squares };
}

/** Standard errors that a share may miss its limit by. */
const errors = 3;

export function resultOf({ name, group, limit }: Study, tallies: readonly Tally[]): StudyResult {
  const runs = tallies.reduce((total, tally) => total + tally.runs, 0);
  const value = tallies.reduce((total, { sum }) => total + sum, 0) / runs;
  const squares = tallies.reduce((total, tally) => total + tally.squares, 0) / runs;
  const variance = group === "e-value" ? squares - value * value : limit.share * (1 - limit.share);
  const slack = errors * Math.sqrt(Math.max(0, variance) / runs);
  const bound = limit.kind === "at-most" ? limit.share + slack : limit.share - slack;
  return {
    name,
    runs,
    value,
    limit: bound,
    ok: limit.kind === "at-most" ? value <= bound : value >= bound,
  };
}
