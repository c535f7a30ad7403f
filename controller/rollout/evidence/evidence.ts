/**
 * The evidence of one rollout: entries in, values of its tests out. No I/O, no clock.
 *
 * Invariants: an entry counts once, however often it comes; the values after a sequence of entries are
 * the same in every split of that sequence; stages follow each other on one evidence, so their e-values
 * multiply and the error is per rollout, not per stage.
 */
import {
  bernoulliLogE,
  type LogWealth,
  logMean,
  type Moments,
  mcnemarLogE,
  meanLogE,
  noWealth,
  rhoFor,
  symmetricLogE,
  withObservation,
} from "../../../shared/statistics/e-process.ts";
import { signFlipPValue } from "../../../shared/statistics/sign-flip.ts";
import { type EvidenceEntry, entryKey } from "./entry.ts";
import { type EvidenceRules, errorShares, pairsTuned, type Signal, seriesCount } from "./rules.ts";

/** One test: its evidence against "no harm" (or, for a promotion, against "harm"), and what it needs. */
export interface TestValue {
  readonly name: string;
  /** Stratum that the test speaks for; undefined for the whole fleet. */
  readonly stratum?: string;
  readonly logE: number;
  readonly logThreshold: number;
}

export interface Counts {
  readonly trials: {
    readonly passed: number;
    readonly rolledBack: number;
    readonly failed: number;
  };
  readonly soaked: { readonly harmed: number; readonly well: number };
  readonly pairHarm: { readonly canaryOnly: number; readonly controlOnly: number };
  /** Pairs that were compared at the last horizon on the first signal. */
  readonly pairs: number;
}

export interface Evidence {
  /** False when the entry was known already. Throws on a stratum or signal that the rules do not name. */
  add(entry: EvidenceEntry): boolean;
  readonly counts: () => Counts;
  /** Tests that may roll back. */
  readonly stopping: () => TestValue[];
  /** Tests that must all hold before the whole fleet. */
  readonly promoting: () => TestValue[];
  /** Mean drop of a signal at the last horizon, over all strata; NaN without pairs. */
  readonly meanDrop: (signal: string) => number;
}

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

/** A value that is computed when it is asked for after a change, and not at each look. */
interface Kept<T> {
  get(): T;
  changed(): void;
}

function kept<T>(compute: () => T): Kept<T> {
  let value: T | undefined;
  return {
    get() {
      value ??= compute();
      return value;
    },
    changed() {
      value = undefined;
    },
  };
}

export function createEvidence(rules: EvidenceRules): Evidence {
  const seen = new Set<string>();
  const trials = { passed: 0, rolledBack: 0, failed: 0 };
  const soaked = { harmed: 0, well: 0 };
  const pairHarm = { canaryOnly: 0, controlOnly: 0 };
  const series = rules.signals.flatMap((signal) =>
    signal.horizonsMs.map((_, horizon) => emptySeries(rules, signal, horizon)),
  );
  const last = series.filter(({ signal, horizon }) => horizon === signal.horizonsMs.length - 1);
  const wealth = new Map<string, LogWealth>(rules.signals.map(({ name }) => [name, noWealth()]));
  const known = new Set(rules.strata);
  const ofDevices = kept(() => deviceTests(rules, { trials, pairHarm }));
  const ofHarmed = kept(() => harmedBelow(rules, soaked, rules.harmedShareMax));

  const addPair = (entry: Extract<EvidenceEntry, { kind: "pair" }>): void => {
    const of = series.find(
      ({ signal, horizon }) => signal.name === entry.signal && horizon === entry.horizon,
    );
    if (of === undefined) throw new Error(`no signal ${entry.signal} at horizon ${entry.horizon}`);
    const cell = of.strata.get(entry.stratum) ?? emptyCell();
    of.strata.set(entry.stratum, cell);
    for (const moved of [cell, of.pooled]) {
      const { sum, squares } = moved.moments;
      moved.moments = { sum: sum + entry.drop, squares: squares + entry.drop ** 2 };
      moved.n++;
    }
    if (rules.judge === "group-sequential") of.drops.push(entry.drop);
    of.tests.changed();
    if (!last.includes(of)) return;
    const before = wealth.get(entry.signal) ?? noWealth();
    wealth.set(entry.signal, withObservation(before, entry.drop, promotionTest(of.signal)));
  };

  return {
    add(entry) {
      const key = entryKey(entry);
      if (seen.has(key)) return false;
      if (!known.has(entry.stratum)) throw new Error(`no stratum ${entry.stratum}`);
      seen.add(key);
      if (entry.kind === "pair") addPair(entry);
      else if (entry.kind === "soaked") soaked[entry.harmed ? "harmed" : "well"]++;
      else if (entry.kind === "trial") trials[resultKey[entry.result]]++;
      else if (entry.canary !== entry.control)
        pairHarm[entry.canary ? "canaryOnly" : "controlOnly"]++;
      if (entry.kind === "soaked") ofHarmed.changed();
      else if (entry.kind !== "pair") ofDevices.changed();
      return true;
    },
    counts: () => ({
      trials: { ...trials },
      soaked: { ...soaked },
      pairHarm: { ...pairHarm },
      pairs: last[0]?.pooled.n ?? 0,
    }),
    stopping: () => [...ofDevices.get(), ...series.flatMap(({ tests }) => tests.get())],
    promoting: () => [
      ...rules.signals.map(({ name }) => ({
        name: `promote ${name}`,
        logE: meanLogE(wealth.get(name) ?? noWealth()),
        logThreshold: -Math.log(rules.beta),
      })),
      ofHarmed.get(),
    ],
    meanDrop(name) {
      const of = last.find(({ signal }) => signal.name === name);
      return of === undefined ? Number.NaN : of.pooled.moments.sum / of.pooled.n;
    },
  };
}

const resultKey = { passed: "passed", "rolled-back": "rolledBack", failed: "failed" } as const;

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

/** Evidence that fewer than `rate` of the devices are harmed. */
export function harmedBelow(
  rules: EvidenceRules,
  { harmed, well }: { harmed: number; well: number },
  rate: number,
): TestValue {
  return {
    name: "promote harmed-share",
    logE: bernoulliLogE({ ones: harmed, zeros: well }, { rate, side: "below" }),
    logThreshold: -Math.log(rules.beta),
  };
}

function deviceTests(
  { alphaRollout, alphaDevice, failureRateMax }: EvidenceRules,
  counted: Pick<Counts, "trials" | "pairHarm">,
): TestValue[] {
  const { passed, rolledBack, failed } = counted.trials;
  const { canaryOnly, controlOnly } = counted.pairHarm;
  const needs = (share: number) => -Math.log(alphaRollout * share);
  return [
    {
      name: "gate-rollbacks",
      logE: bernoulliLogE(
        { ones: rolledBack, zeros: passed },
        { rate: alphaDevice, side: "above" },
      ),
      logThreshold: needs(errorShares.gateRollbacks),
    },
    {
      name: "failures",
      logE: bernoulliLogE(
        { ones: failed, zeros: passed + rolledBack },
        { rate: failureRateMax, side: "above" },
      ),
      logThreshold: needs(errorShares.failures),
    },
    {
      name: "harm",
      logE: mcnemarLogE(canaryOnly, controlOnly),
      logThreshold: needs(errorShares.harm),
    },
  ];
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
