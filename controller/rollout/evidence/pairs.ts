/**
 * What pairs of canary and control say: by how much the canary fell behind, per signal, horizon and
 * stratum. Labels of a pair are drawn by lot, so under "no effect" a drop is as likely up as down.
 */
import {
  type LogWealth,
  logMean,
  type Moments,
  meanLogE,
  noWealth,
  rhoFor,
  symmetricLogE,
  withObservation,
} from "../../../shared/statistics/e-process.ts";
import { signFlipPValue } from "../../../shared/statistics/sign-flip.ts";
import type { EvidenceEntry } from "./entry.ts";
import { type Kept, kept } from "./kept.ts";
import { type EvidenceRules, errorShares, pairsTuned, type Signal, seriesCount } from "./rules.ts";
import type { TestValue } from "./test-value.ts";

type PairEntry = Extract<EvidenceEntry, { kind: "pair" }>;

/** Looks of a group-sequential rollout, at equal distances; Bonferroni over them (reference §2.2). */
export const looks = 5;
/** Draws of the sign-flip test per look: P values down to 1/(draws + 1). */
const signFlips = 4_999;

interface Cell {
  moments: Moments;
  n: number;
}

interface Series {
  readonly signal: Signal;
  readonly horizon: number;
  readonly rho: number;
  readonly strata: Map<string, Cell>;
  readonly pooled: Cell;
  /** In order of arrival, for the planned looks; empty for e-processes. */
  readonly drops: number[];
  /** P value of each planned look that was reached. */
  readonly looked: number[];
  readonly tests: Kept<TestValue[]>;
}

/** What the pairs of one stratum say on one signal and horizon, now. */
export interface StratumTest {
  readonly stratum: string;
  readonly signal: string;
  readonly horizon: number;
  readonly pairs: number;
  /** NaN without pairs. */
  readonly meanDrop: number;
  readonly logE: number;
}

export interface PairTally {
  /** False when its golden shard spoke already. Throws on a stratum or signal that the rules do not name. */
  add(entry: PairEntry): boolean;
  /** Pairs that were compared at the last horizon on the first signal. */
  readonly pairs: () => number;
  readonly meanDrop: (signal: string) => number;
  /** Every stratum of the rules, also without a pair. */
  readonly strata: () => StratumTest[];
  readonly stopping: () => TestValue[];
  readonly promoting: () => TestValue[];
}

export function tallyPairs(rules: EvidenceRules): PairTally {
  const series = rules.signals.flatMap((signal) =>
    signal.horizonsMs.map((_, horizon) => emptySeries(rules, signal, horizon)),
  );
  const last = series.filter(({ signal, horizon }) => horizon === signal.horizonsMs.length - 1);
  const wealth = new Map<Series, LogWealth>(last.map((one) => [one, noWealth()]));
  const strata = new Set(rules.strata);
  const shards = new Set<string>();
  const seriesOf = ({ stratum, signal: name, horizon }: PairEntry): Series => {
    if (!strata.has(stratum)) throw new Error(`no stratum ${stratum}`);
    const found = series.find((one) => one.signal.name === name && one.horizon === horizon);
    if (found === undefined) throw new Error(`no signal ${name} at horizon ${horizon}`);
    return found;
  };
  return {
    add(entry) {
      const of = seriesOf(entry);
      if (entry.shard !== null && shards.has(entry.shard)) return false;
      if (entry.shard !== null) shards.add(entry.shard);
      addDrop(rules, of, entry);
      const before = wealth.get(of);
      if (before !== undefined)
        wealth.set(of, withObservation(before, entry.drop, promotionTest(of.signal)));
      return true;
    },
    pairs: () => last[0]?.pooled.n ?? 0,
    meanDrop(name) {
      const of = last.find(({ signal }) => signal.name === name);
      return of === undefined ? Number.NaN : of.pooled.moments.sum / of.pooled.n;
    },
    strata: () => series.flatMap((one) => stratumTests(rules, one)),
    stopping: () => series.flatMap(({ tests }) => tests.get()),
    promoting: () =>
      last.map((one) => ({
        name: `promote ${one.signal.name}`,
        logE: meanLogE(wealth.get(one) ?? noWealth()),
        logThreshold: -Math.log(rules.beta),
      })),
  };
}

function addDrop(rules: EvidenceRules, of: Series, { stratum, drop }: PairEntry): void {
  const cell = of.strata.get(stratum) ?? emptyCell();
  of.strata.set(stratum, cell);
  for (const moved of [cell, of.pooled]) {
    const { sum, squares } = moved.moments;
    moved.moments = { sum: sum + drop, squares: squares + drop ** 2 };
    moved.n++;
  }
  if (rules.judge === "group-sequential") of.drops.push(drop);
  of.tests.changed();
}

function emptySeries(rules: EvidenceRules, signal: Signal, horizon: number): Series {
  const alpha = rules.alphaRollout * errorShares.pairsInFleet;
  const judged = rules.judge === "group-sequential" ? plannedLooks : pairTests;
  const series: Series = {
    signal,
    horizon,
    rho: rhoFor(pairsTuned * signal.deviation ** 2, alpha),
    strata: new Map(),
    pooled: emptyCell(),
    drops: [],
    looked: [],
    tests: kept(() => judged(rules, series)),
  };
  return series;
}

const emptyCell = (): Cell => ({ moments: { sum: 0, squares: 0 }, n: 0 });

const promotionTest = ({ deltaMax }: Signal) =>
  ({ mean: deltaMax, low: -1, high: 1, side: "below" }) as const;

function stratumTests(rules: EvidenceRules, { signal, horizon, rho, ...one }: Series) {
  return rules.strata.map((stratum) => {
    const { moments, n } = one.strata.get(stratum) ?? emptyCell();
    const logE = n === 0 ? 0 : symmetricLogE(moments, rho);
    const meanDrop = moments.sum / n;
    return { stratum, signal: signal.name, horizon, pairs: n, meanDrop, logE };
  });
}

/**
 * Each stratum on its own; and the fleet, as the mean of what all strata say alone (one that is bad) and
 * what they say pooled (all a little worse). Pairs are randomised within their stratum, so each of these
 * is a martingale of the joint history, and so is their mean (reference §2.2.5).
 */
function pairTests(rules: EvidenceRules, one: Series): TestValue[] {
  const name = `pairs ${one.signal.name} ${one.horizon}`;
  const series = seriesCount(rules);
  const strata = rules.strata.length;
  const inStratum = Math.log((strata * series) / (rules.alphaRollout * errorShares.pairsInStratum));
  const tests = [...one.strata].map(([stratum, { moments }]) => {
    return { name, stratum, logE: symmetricLogE(moments, one.rho), logThreshold: inStratum };
  });
  // Strata without a pair yet count with their e-value of 1.
  const alone = [...tests.map(({ logE }) => logE), ...new Array(strata - tests.length).fill(0)];
  const pooled = symmetricLogE(one.pooled.moments, one.rho);
  const inFleet = Math.log(series / (rules.alphaRollout * errorShares.pairsInFleet));
  return [...tests, { name, logE: logMean([logMean(alone), pooled]), logThreshold: inFleet }];
}

/** The fleet at each planned look that was reached; its P value as an equivalent threshold. */
function plannedLooks(rules: EvidenceRules, one: Series): TestValue[] {
  const planned = Math.max(looks, rules.pairsPlanned ?? looks);
  const pairsAt = (look: number) => Math.ceil((look * planned) / looks);
  for (let look = one.looked.length + 1; look <= looks; look++) {
    if (one.drops.length < pairsAt(look)) break;
    const drops = one.drops.slice(0, pairsAt(look));
    one.looked.push(signFlipPValue(drops, { draws: signFlips, seed: look }));
  }
  const share = errorShares.pairsInFleet + errorShares.pairsInStratum;
  const series = seriesCount(rules);
  return one.looked.map((p, at) => ({
    name: `look ${at + 1} of ${looks} ${one.signal.name} ${one.horizon}`,
    logE: -Math.log(p),
    logThreshold: Math.log((series * looks) / (rules.alphaRollout * share)),
  }));
}
