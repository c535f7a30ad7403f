/**
 * What pairs of canary and control say: by how much the canary fell behind, per signal, horizon and
 * stratum. Labels of a pair are drawn by lot, so under "no effect" a drop is as likely up as down.
 */

import { durationWords } from "../../../shared/duration-words.ts";
import {
  type LogWealth,
  logMean,
  type Moments,
  meanLogE,
  noWealth,
  symmetricLogE,
  withObservation,
} from "../../../shared/statistics/e-process.ts";
import { signFlipPValue } from "../../../shared/statistics/sign-flip.ts";
import type { EvidenceEntry } from "./entry.ts";
import { type Kept, kept } from "./kept.ts";
import { type EvidenceRules, errorShares, rhoOf, seriesShare } from "./rules.ts";
import type { Signal } from "./signals.ts";
import type { SeriesStand, TestValue } from "./test-value.ts";

type PairEntry = Extract<EvidenceEntry, { kind: "pair" }>;

/** Looks of a group-sequential rollout, at equal distances; Bonferroni over them (reference §2.2). */
export const looks = 5;
/** Draws of the sign-flip test per look: P values down to 1/(draws + 1). */
const signFlips = 4_999;

interface Cell {
  /** Of the drops beyond what is tolerated. */
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
export interface StratumTest extends SeriesStand {
  readonly stratum: string;
  readonly logE: number;
}

/** A signal at a horizon, and the test of the fleet that it gives. */
export interface SeriesView extends SeriesStand {
  /** Undefined for a signal that only people read, and before the first planned look. */
  readonly test: TestValue | undefined;
  readonly promotes: boolean;
}

export interface PairTally {
  /** False when its golden shard spoke already. Throws on a stratum or signal that the rules do not name. */
  add(entry: PairEntry): boolean;
  /** Pairs that were compared at the last horizon on the first signal. */
  readonly pairs: () => number;
  readonly meanDrop: (signal: string) => number;
  /** Every stratum of the rules, also without a pair. */
  readonly strata: () => StratumTest[];
  readonly series: (excluded: ReadonlySet<string>) => SeriesView[];
  readonly stopping: (excluded: ReadonlySet<string>) => TestValue[];
  readonly promoting: () => TestValue[];
}

export function tallyPairs(rules: EvidenceRules): PairTally {
  const series = rules.signals.flatMap((signal) =>
    signal.horizonsMs.map((_, horizon) => emptySeries(rules, signal, horizon)),
  );
  const last = series.filter(({ signal, horizon }) => horizon === signal.horizonsMs.length - 1);
  const promoting = last.filter(({ signal }) => signal.promotes);
  const wealth = new Map<Series, LogWealth>(promoting.map((one) => [one, noWealth()]));
  const strata = new Set(rules.strata);
  const shards = new Set<string>();
  const seriesOf = ({ stratum, signal: name, horizon }: PairEntry): Series => {
    if (!strata.has(stratum)) throw new Error(`no stratum ${stratum}`);
    const found = series.find((one) => one.signal.name === name && one.horizon === horizon);
    if (found === undefined) throw new Error(`no signal ${name} at horizon ${horizon}`);
    return found;
  };
  const testsOf = (one: Series, excluded: ReadonlySet<string>): TestValue[] => {
    // Live signals that nobody reported yet say nothing.
    if (!one.signal.rollsBack || (!one.signal.promotes && one.pooled.n === 0)) return [];
    return excluded.size === 0 ? one.tests.get() : testsFor(rules, one, excluded);
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
      return of === undefined ? Number.NaN : standOf(of, of.pooled).meanDrop;
    },
    strata: () => series.filter(({ signal }) => signal.rollsBack).flatMap(stratumTests(rules)),
    series: (excluded) =>
      series.map((one) => ({
        ...standOf(one, one.pooled),
        test: testsOf(one, excluded).findLast(({ stratum }) => stratum === undefined),
        promotes: one.signal.promotes,
      })),
    stopping: (excluded) => series.flatMap((one) => testsOf(one, excluded)),
    promoting: () =>
      promoting.map((one) => ({
        name: `promote ${one.signal.name}`,
        logE: meanLogE(wealth.get(one) ?? noWealth()),
        logThreshold: -Math.log(rules.beta),
      })),
  };
}

function addDrop(rules: EvidenceRules, of: Series, { stratum, drop }: PairEntry): void {
  const cell = of.strata.get(stratum) ?? emptyCell();
  of.strata.set(stratum, cell);
  const beyond = drop - of.signal.tolerated;
  for (const moved of [cell, of.pooled]) {
    const { sum, squares } = moved.moments;
    moved.moments = { sum: sum + beyond, squares: squares + beyond ** 2 };
    moved.n++;
  }
  if (rules.judge === "group-sequential") of.drops.push(beyond);
  of.tests.changed();
}

function emptySeries(rules: EvidenceRules, signal: Signal, horizon: number): Series {
  const series: Series = {
    signal,
    horizon,
    rho: rhoOf(rules, signal),
    strata: new Map(),
    pooled: emptyCell(),
    drops: [],
    looked: [],
    tests: kept(() => testsFor(rules, series, new Set())),
  };
  return series;
}

const emptyCell = (): Cell => ({ moments: { sum: 0, squares: 0 }, n: 0 });

const promotionTest = ({ deltaMax }: Signal) =>
  ({ mean: deltaMax, low: -1, high: 1, side: "below" }) as const;

function standOf({ signal, horizon }: Series, { moments, n }: Cell): SeriesStand {
  const meanDrop = moments.sum / n + signal.tolerated;
  const horizonMs = signal.horizonsMs[horizon] ?? 0;
  return { signal: signal.name, horizonMs, pairs: n, meanDrop };
}

/** Golden metrics keep the name that they have in ledgers from before there were live signals. */
function nameOf({ signal, horizon }: Series): string {
  const horizonMs = signal.horizonsMs[horizon] ?? 0;
  return `${signal.name} ${horizonMs === 0 ? horizon : `after ${durationWords(horizonMs)}`}`;
}

const stratumTests = (rules: EvidenceRules) => (one: Series) =>
  rules.strata.map((stratum): StratumTest => {
    const cell = one.strata.get(stratum) ?? emptyCell();
    const logE = cell.n === 0 ? 0 : symmetricLogE(cell.moments, one.rho);
    return { stratum, ...standOf(one, cell), logE };
  });

function testsFor(rules: EvidenceRules, one: Series, excluded: ReadonlySet<string>): TestValue[] {
  if (rules.judge === "group-sequential") return plannedLooks(rules, one);
  return pairTests(rules, one, excluded);
}

/**
 * Each stratum on its own; and the fleet, as the mean of what all strata say alone (one that is bad) and
 * what they say pooled (all a little worse). Pairs are randomised within their stratum, so each of these
 * is a martingale of the joint history, and so is their mean (reference §2.2.5).
 *
 * Strata that were taken back are left out of all of it, or their harm would stop the others. That spends
 * no more error: a healthy stratum that was taken back is an error already, and for the strata that harm,
 * whichever they are, the test of all others is a martingale.
 */
function pairTests(rules: EvidenceRules, one: Series, excluded: ReadonlySet<string>): TestValue[] {
  const name = `pairs ${nameOf(one)}`;
  const { alphaRollout, strata } = rules;
  const share = seriesShare(rules, one.signal);
  const inStratum = Math.log(strata.length / (alphaRollout * errorShares.pairsInStratum * share));
  const cells = [...one.strata].filter(([stratum]) => !excluded.has(stratum));
  const tests = cells.map(([stratum, cell]) => {
    const logE = symmetricLogE(cell.moments, one.rho);
    return { name, stratum, series: standOf(one, cell), logE, logThreshold: inStratum };
  });
  const left = strata.length - excluded.size;
  if (left <= 0) return [];
  // Strata without a pair yet count with their e-value of 1.
  const alone = [...tests.map(({ logE }) => logE), ...new Array(left - tests.length).fill(0)];
  const pooled = excluded.size === 0 ? one.pooled : sumOf(cells.map(([, cell]) => cell));
  const inFleet = Math.log(1 / (alphaRollout * errorShares.pairsInFleet * share));
  const logE = logMean([logMean(alone), symmetricLogE(pooled.moments, one.rho)]);
  return [...tests, { name, series: standOf(one, pooled), logE, logThreshold: inFleet }];
}

function sumOf(cells: readonly Cell[]): Cell {
  const all = emptyCell();
  for (const { moments, n } of cells) {
    const { sum, squares } = all.moments;
    all.moments = { sum: sum + moments.sum, squares: squares + moments.squares };
    all.n += n;
  }
  return all;
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
  const share =
    (errorShares.pairsInFleet + errorShares.pairsInStratum) * seriesShare(rules, one.signal);
  return one.looked.map((p, at) => ({
    name: `look ${at + 1} of ${looks} ${nameOf(one)}`,
    series: standOf(one, one.pooled),
    logE: -Math.log(p),
    logThreshold: Math.log(looks / (rules.alphaRollout * share)),
  }));
}
