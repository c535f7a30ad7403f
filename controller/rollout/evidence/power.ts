/**
 * What a fleet can prove before its rollout begins, so that an operator hears it then and not after weeks.
 */
import { expectedHealthyRollbacks } from "../../../shared/evaluation/error-budget.ts";
import {
  bernoulliLogE,
  meanLogE,
  noWealth,
  symmetricLogE,
  withObservation,
} from "../../../shared/statistics/e-process.ts";
import { type EvidenceRules, errorShares, rhoOf, seriesShare } from "./rules.ts";
import type { Signal } from "./signals.ts";

/** Nobody plans with more pairs than this. */
const pairsPlannedMax = 100_000;

/** Signals that a claim rests on. */
export function promotingOf({ signals }: Pick<EvidenceRules, "signals">): Signal[] {
  return signals.filter(({ promotes }) => promotes);
}

/** Pairs after which a release with no drop at all is promoted; `done` of them are there already. */
export function pairsToPromote(
  rules: Pick<EvidenceRules, "beta">,
  { deltaMax }: Pick<Signal, "deltaMax">,
  done = 0,
): number {
  const test = { mean: deltaMax, low: -1, high: 1, side: "below" } as const;
  let wealth = noWealth();
  for (let pairs = 1; pairs <= pairsPlannedMax; pairs++) {
    wealth = withObservation(wealth, 0, test);
    if (meanLogE(wealth) >= -Math.log(rules.beta)) return Math.max(1, pairs - done);
  }
  return pairsPlannedMax;
}

/** Devices after which "fewer than harmedShareMax are harmed" holds when none is. */
export function devicesToPromote({ beta, harmedShareMax }: EvidenceRules): number {
  for (let n = 1; n <= pairsPlannedMax; n++) {
    const test = { rate: harmedShareMax, side: "below" } as const;
    if (bernoulliLogE({ ones: 0, zeros: n }, test) >= -Math.log(beta)) return n;
  }
  return pairsPlannedMax;
}

/**
 * Pairs after which a mean drop of `deltaMax` with the signal's usual spread is rolled back, by what all
 * strata say pooled: half of the fleet's test.
 */
export function pairsToRollBack(
  rules: Pick<EvidenceRules, "alphaRollout" | "signals">,
  signal: Signal,
): number {
  const alpha = rules.alphaRollout * errorShares.pairsInFleet * seriesShare(rules, signal);
  const rho = rhoOf(rules, signal);
  const beyond = signal.deltaMax - signal.tolerated;
  for (let n = 1; n <= pairsPlannedMax; n++) {
    const moments = { sum: n * beyond, squares: n * (beyond ** 2 + signal.deviation ** 2) };
    if (symmetricLogE(moments, rho) >= Math.LN2 - Math.log(alpha)) return n;
  }
  return pairsPlannedMax;
}

export interface Power {
  /** Pairs that can be made: of devices that run something, each on a golden shard of its own. */
  readonly pairsPossible: number;
  readonly pairsNeeded: number;
  readonly devicesNeeded: number;
  /** Smallest mean drop that all pairs together would still roll back; null when none. */
  readonly dropSeen: number | null;
  readonly canPromote: boolean;
  /** Healthy devices that roll back by their own gates, per 10,000. */
  readonly healthyRollbacksPer10000: number;
  /** All of it in words, for the operator. */
  readonly why: string;
}

/** Drops that are tried for `dropSeen`, in points. */
const dropsTried = [1, 2, 3, 5, 8, 12, 20, 30, 50, 80] as const;

/** What `devices` reachable devices, of which at most `pairsMax` pairs can be made, can prove. */
export function powerOf(
  rules: EvidenceRules,
  { devices, pairsMax }: { devices: number; pairsMax: number },
): Power {
  // Half of a pair runs the release, and only so many may run it before the proof.
  const most = Math.min(rules.expansionShareMax, 0.5);
  const pairsPossible = Math.floor(Math.min(devices * most, pairsMax));
  const pairsNeeded = Math.max(
    ...promotingOf(rules).map((signal) => pairsToPromote(rules, signal)),
  );
  const devicesNeeded = devicesToPromote(rules);
  const [signal] = rules.signals;
  const seen = dropsTried.find(
    (points) =>
      signal !== undefined &&
      pairsToRollBack(rules, { ...signal, deltaMax: points / 100 }) <= pairsPossible,
  );
  const canPromote = pairsPossible >= Math.max(pairsNeeded, devicesNeeded);
  const power = {
    pairsPossible,
    pairsNeeded,
    devicesNeeded,
    dropSeen: seen === undefined ? null : seen / 100,
    canPromote,
    healthyRollbacksPer10000: expectedHealthyRollbacks(10_000, rules.alphaDevice),
  };
  return { ...power, why: `${inWords(power, devices)}${liveWords(rules)}` };
}

/** What live signals add, `errors +5 points in 14 pairs`; empty without any. */
function liveWords(rules: EvidenceRules): string {
  const seen = rules.signals
    .filter(({ promotes, rollsBack }) => rollsBack && !promotes)
    .map((signal) => {
      const points = Math.round(signal.deltaMax * 100);
      return `${signal.name} +${points} points in ${pairsToRollBack(rules, signal)} pairs`;
    });
  return seen.length === 0 ? "" : `; where devices serve, seen at each horizon: ${seen.join(", ")}`;
}

function inWords(power: Omit<Power, "why">, devices: number): string {
  const seen =
    power.dropSeen === null
      ? "no drop of a fleet this small can be seen by its pairs"
      : `a mean drop of ${power.dropSeen * 100} points is seen`;
  const health = `about ${power.healthyRollbacksPer10000} in 10,000 healthy devices roll back`;
  if (power.canPromote) {
    return `${devices} devices form ${power.pairsPossible} pairs; a healthy release is proven after about ${power.pairsNeeded}; ${seen}; ${health}`;
  }
  return `${devices} devices form ${power.pairsPossible} pairs, ${power.pairsNeeded} are needed to prove that a release does no harm: the fleet cannot prove it; ${seen}; every device still decides by its own gates and its soak; the whole fleet follows when somebody promotes it (gate: manual), or on those alone where that is ordered (gate: automatic; an expansion, not a claim); ${health}`;
}
