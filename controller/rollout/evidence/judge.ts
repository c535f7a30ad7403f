/**
 * From evidence to a verdict, purely: roll back, promote, expand, wait, or "inconclusive, about n more
 * pairs". Each verdict says in words, with its numbers, what it rests on.
 *
 * Invariants: only the stopping tests roll back and only the promoting ones promote; an expansion is
 * never called a promotion; past its deadline a stage always gets a verdict. A claim is about the fleet, so
 * what was found in strata that were taken back counts in it.
 */
import { durationWords } from "../../../shared/duration-words.ts";
import { bernoulliLogE } from "../../../shared/statistics/e-process.ts";
import { type Harmed, harmedBelow } from "./devices.ts";
import type { Evidence } from "./evidence.ts";
import { pairsToPromote, promotingOf } from "./power.ts";
import type { EvidenceRules } from "./rules.ts";
import { signalWords } from "./signals.ts";
import type { SeriesStand, TestValue } from "./test-value.ts";

/** Where the rollout stands when it is judged. */
export interface StageStanding {
  /** Canaries of this and earlier stages that may still say something before the deadline. */
  readonly open: number;
  /** Share of the fleet that would run the release when the next stage is offered. */
  readonly shareAfterNext: number;
  /** The deadline of the stage has passed: whoever is silent counted as harmed. */
  readonly overdue: boolean;
  /** Strata that were taken back. */
  readonly excluded: readonly string[];
}

export type EvidenceVerdict =
  /** With a stratum: that one alone. */
  | { readonly kind: "roll-back"; readonly stratum?: string; readonly why: string }
  | { readonly kind: "promote"; readonly why: string }
  | { readonly kind: "expand"; readonly why: string }
  | { readonly kind: "waiting"; readonly why: string }
  | { readonly kind: "inconclusive"; readonly why: string; readonly pairsMore: number };

/**
 * An expansion waits while a stopping test has come this far towards its threshold, on the log scale: half
 * way, an e-value of the square root.
 */
const suspicion = 0.5;
/** Evidence that an expansion asks of the harmed share; a promotion asks 1/beta. */
const expansionLogE = Math.log(5);

export function judge(
  rules: EvidenceRules,
  evidence: Evidence,
  standing: StageStanding,
): EvidenceVerdict {
  const excluded = new Set(standing.excluded);
  const stopping = evidence.stopping(excluded);
  const reached = stopping.filter(isReached);
  const bad = rollBack(rules, reached, excluded);
  if (bad !== undefined) {
    const worst = confinedTo(rules, evidence, { reached, stopping, excluded });
    const mayTell = standing.open > 0 && !standing.overdue;
    if (bad.stratum !== undefined || worst === undefined || !mayTell) return bad;
    return { kind: "waiting", why: `${bad.why}; so far it shows in ${worst} alone` };
  }
  const missing = evidence.promoting().filter((test) => !isReached(test));
  if (missing.length === 0) return promote(rules, evidence);
  if (standing.shareAfterNext <= rules.expansionShareMax) {
    const doubt = expansionDoubt(rules, evidence.harmed(excluded), stopping);
    if (doubt === undefined && standing.open === 0) return expand(evidence);
    if (!standing.overdue)
      return { kind: "waiting", why: doubt ?? `${standing.open} devices are not done` };
    if (doubt === undefined) return expand(evidence);
    return inconclusive(rules, evidence, doubt);
  }
  const why = `${missing.map(({ name }) => name).join(" and ")} not proven yet`;
  if (standing.open > 0 && !standing.overdue) return { kind: "waiting", why };
  return inconclusive(rules, evidence, why);
}

const isReached = ({ logE, logThreshold }: TestValue): boolean => logE >= logThreshold;

/**
 * A stratum that proves harm goes alone while others are left; what is found about the fleet is then asked
 * again without it. What devices say of themselves counts for the fleet, and first.
 */
function rollBack(
  rules: EvidenceRules,
  reached: readonly TestValue[],
  excluded: ReadonlySet<string>,
): Extract<EvidenceVerdict, { kind: "roll-back" }> | undefined {
  const ofDevices = reached.find(({ series }) => series === undefined);
  const wide = ofDevices ?? reached.find(({ stratum }) => stratum === undefined);
  const alone = reached.find(({ stratum }) => stratum !== undefined);
  const isLast = excluded.size + 1 >= rules.strata.length;
  if (rules.onStratumHarm === "exclude" && alone?.stratum !== undefined && !isLast && !ofDevices) {
    return { kind: "roll-back", stratum: alone.stratum, why: whyBad(alone) };
  }
  const test = wide ?? alone;
  return test && { kind: "roll-back", why: whyBad(test) };
}

/**
 * The stratum without which nothing that was found about the fleet is even half way to its threshold: more
 * pairs will tell whether it goes alone. Undefined when harm shows elsewhere too, or one cannot go alone.
 */
function confinedTo(
  rules: EvidenceRules,
  evidence: Evidence,
  look: {
    reached: readonly TestValue[];
    stopping: readonly TestValue[];
    excluded: ReadonlySet<string>;
  },
): string | undefined {
  const { reached, stopping, excluded } = look;
  const [first] = reached;
  const isLast = excluded.size + 1 >= rules.strata.length;
  if (rules.onStratumHarm === "stop" || isLast || reached.some((test) => !test.series)) return;
  const worst = stopping
    .filter(({ name, stratum }) => name === first?.name && stratum !== undefined)
    .reduce<TestValue | undefined>(
      (a, b) => (a === undefined || b.logE > a.logE ? b : a),
      undefined,
    );
  if (worst?.stratum === undefined) return;
  const others = evidence.stopping(new Set([...excluded, worst.stratum]));
  const isElsewhere = others.some(
    ({ name, stratum, logE, logThreshold }) =>
      stratum === undefined &&
      logE >= suspicion * logThreshold &&
      reached.some((test) => test.name === name),
  );
  return isElsewhere ? undefined : worst.stratum;
}

function whyBad({ name, stratum, series, finding, logE, logThreshold }: TestValue): string {
  const where = stratum === undefined ? "" : ` in ${stratum}`;
  const what = series === undefined ? (finding ?? name) : change(series);
  // Ville's inequality: evidence of n is reached with probability 1/n at most.
  const odds = `without harm this comes about in one rollout of ${figure(logE)} at most`;
  return `${what}${where}; ${odds} (${name}: evidence ${figure(logE)}, needed ${figure(logThreshold)})`;
}

function change({ signal, horizonMs, pairs, meanDrop }: SeriesStand): string {
  const [when, how] =
    horizonMs === 0
      ? ["in the trial", "fell"]
      : [`within ${durationWords(horizonMs)} of the commit`, "rose"];
  const points = `${(meanDrop * 100).toFixed(2)} points`;
  return `${when} the ${signalWords(signal)} ${how} by ${points} more on canaries than on their controls (${pairs} pairs)`;
}

function promote(rules: EvidenceRules, evidence: Evidence): EvidenceVerdict {
  const { pairs, soaked } = evidence.counts();
  const drops = promotingOf(rules).map(({ name, deltaMax }) => {
    const mean = evidence.meanDrop(name);
    return `${name} fell by less than ${percent(deltaMax)} (measured ${percent(mean)})`;
  });
  const why = `${drops.join(", ")} over ${pairs} pairs; ${soaked.harmed} of ${soaked.harmed + soaked.well} devices harmed, less than ${percent(rules.harmedShareMax)} in the fleet (wrong with probability ${rules.beta} at most)`;
  return { kind: "promote", why };
}

function expand(evidence: Evidence): EvidenceVerdict {
  const { soaked, trials } = evidence.counts();
  const why = `an expansion, not a claim: ${trials.passed} canaries committed, ${soaked.harmed} of ${soaked.harmed + soaked.well} harmed, no evidence of harm`;
  return { kind: "expand", why };
}

/** Why the next bounded exposure should wait; undefined when nothing speaks against it. */
function expansionDoubt(
  rules: EvidenceRules,
  soaked: Harmed,
  stopping: readonly TestValue[],
): string | undefined {
  const suspect = stopping.find(({ logE, logThreshold }) => logE >= suspicion * logThreshold);
  if (suspect !== undefined) {
    return `${suspect.name}: evidence ${figure(suspect.logE)} of harm is on its way to ${figure(suspect.logThreshold)}`;
  }
  const n = soaked.harmed + soaked.well;
  if (soaked.well === 0) return "no device has ended its soak well";
  const rate = expansionRate(n, rules.harmedShareMax);
  if (harmedBelow(rules, soaked, rate).logE >= expansionLogE) return undefined;
  return `${soaked.harmed} of ${n} devices are harmed, which does not speak for less than ${percent(rate)}`;
}

const bisections = 40;

/**
 * The harmed share that n devices can speak against when half as many are harmed as a promotion would
 * bear: the looser limit of a small stage.
 */
export function expansionRate(n: number, harmedShareMax: number): number {
  const harmed = Math.floor((n * harmedShareMax) / 2);
  const counts = { ones: harmed, zeros: n - harmed };
  let low = harmedShareMax;
  let high = 1;
  for (let step = 0; step < bisections; step++) {
    const middle = (low + high) / 2;
    if (bernoulliLogE(counts, { rate: middle, side: "below" }) >= expansionLogE) high = middle;
    else low = middle;
  }
  return high;
}

function inconclusive(rules: EvidenceRules, evidence: Evidence, doubt: string): EvidenceVerdict {
  const pairsMore = Math.max(
    ...promotingOf(rules).map((signal) => pairsToPromote(rules, signal, evidence.counts().pairs)),
  );
  const sizes = promotingOf(rules).map(({ name, deltaMax }) => `${percent(deltaMax)} of ${name}`);
  const why = `${doubt}; about ${pairsMore} more pairs to see ${sizes.join(" and ")}`;
  return { kind: "inconclusive", why, pairsMore };
}

/** An e-value as people read it. */
const figure = (logE: number): string =>
  logE < Math.log(1e6) ? Math.exp(logE).toPrecision(3) : `1e${(logE / Math.LN10).toFixed(0)}`;
const percent = (share: number): string => `${(share * 100).toFixed(2)} %`;
