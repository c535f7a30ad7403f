/**
 * Pairs in service: calls without an answer and answers later than the objective, before and after the
 * commit, at two horizons of which the later one holds the earlier. Devices differ in what they bear, in
 * their traffic and in whether they have any; a shock that all share moves everybody after the commit.
 */
import type { EvidenceEntry } from "../../../controller/rollout/evidence/entry.ts";
import type { EvidenceRules } from "../../../controller/rollout/evidence/rules.ts";
import { signalsFor } from "../../../controller/rollout/evidence/signals.ts";
import { liveDrops } from "../../../controller/rollout/live-pairs.ts";
import { type Random, seededRandom } from "../../../shared/prng.ts";
import { happens, normal, poisson } from "./draws.ts";
import { healthyFleet, simulateFleet, strata } from "./fleet.ts";
import { answersOf, simulatedRules } from "./ours.ts";

const hourMs = 3_600_000;
export const liveRules: EvidenceRules = {
  ...simulatedRules,
  signals: signalsFor([hourMs, 6 * hourMs]),
};

export interface LiveOptions {
  readonly pairs: number;
  /** What the release adds on canaries to the share of errors, and of late answers. */
  readonly harm: { readonly errors: number; readonly overSlo: number };
}

/** Usual shares of errors and of late answers. */
const usual = { errors: 0.005, overSlo: 0.05 };
/** Share of devices without any traffic to speak of. */
const idle = 0.1;
/** Median calls per horizon, and how widely devices differ, in powers of e. */
const callsMedian = 200;
const callsSpread = 1;

interface Span {
  readonly n: number;
  readonly errors: number;
  readonly late: number;
}

/** The ledger of such a rollout: each pair's trial, and then its horizons. */
export function liveEntries({ pairs, harm }: LiveOptions, seed: number): EvidenceEntry[] {
  const random = seededRandom(seed);
  const shock = Math.exp(0.5 * normal(random));
  const trials = simulateFleet({ ...healthyFleet, pairs }, seed);
  const offers = trials.map(({ stratum }, place): EvidenceEntry => {
    return { kind: "offered", device: `canary-${place}`, stratum, place };
  });
  const answers = trials.flatMap((pair, at) => [
    ...answersOf(pair, at, "golden-metric"),
    ...horizonsOfPair(random, { at, shock, harm }),
  ]);
  return [...offers, ...answers];
}

function horizonsOfPair(
  random: Random,
  { at, shock, harm }: { at: number; shock: number; harm: LiveOptions["harm"] },
): EvidenceEntry[] {
  const canary = device(random, { shock, harm });
  const control = device(random, { shock, harm: { errors: 0, overSlo: 0 } });
  return canary.flatMap((mine, horizon) =>
    liveDrops(mine, control[horizon]!).map(({ signal, drop }): EvidenceEntry => {
      const stratum = strata[at % strata.length]!;
      return { kind: "pair", pair: `pair-${at}`, stratum, signal, horizon, drop, shard: null };
    }),
  );
}

/** What one device observed at each horizon. */
function device(random: Random, release: { shock: number; harm: LiveOptions["harm"] }) {
  const own = Math.exp(0.7 * normal(random));
  const calls = happens(random, idle) ? 3 : callsMedian * Math.exp(callsSpread * normal(random));
  const serve = (hours: number, factor: number, harm: LiveOptions["harm"]): Span => {
    const n = poisson(random, calls * hours);
    const share = (usualShare: number, more: number) =>
      Math.min(n, poisson(random, n * Math.min(1, usualShare * own * factor + more)));
    return {
      n,
      errors: share(usual.errors, harm.errors),
      late: share(usual.overSlo, harm.overSlo),
    };
  };
  const none = { errors: 0, overSlo: 0 };
  const before = [serve(1, 1, none), serve(5, 1, none)] as const;
  const after = [
    serve(1, release.shock, release.harm),
    serve(5, release.shock, release.harm),
  ] as const;
  return [signals(before[0], after[0]), signals(together(...before), together(...after))];
}

const together = (one: Span, other: Span): Span => ({
  n: one.n + other.n,
  errors: one.errors + other.errors,
  late: one.late + other.late,
});

function signals(before: Span, after: Span) {
  const mean = (part: number, n: number) => ({ mean: n === 0 ? 0 : part / n, n });
  return {
    errors: { before: mean(before.errors, before.n), after: mean(after.errors, after.n) },
    "over-slo": { before: mean(before.late, before.n), after: mean(after.late, after.n) },
  };
}
