/**
 * What the counts of a soak say, purely. All tests are e-processes, so looking at every input costs
 * nothing.
 *
 * Invariants: a rollback rests on crashes or on labels alone, each within its share of alphaDevice;
 * disagreement without labels may certify, or ask for labels, and never says that accuracy fell.
 * Reference §2.1, gate 2.
 */
import { alphaOf } from "../../shared/evaluation/error-budget.ts";
import type { GateResult } from "../../shared/protocol/messages/attempt-outcome.ts";
import type { SoakVerdict } from "../../shared/protocol/messages/soak-report.ts";
import { wilsonInterval } from "../../shared/statistics/binomial.ts";
import { bernoulliLogE, mcnemarLogE } from "../../shared/statistics/e-process.ts";
import type { SoakCounts, SoakFacts } from "./soak-state.ts";

/** A false alarm in one of 1,000 soaks whose models differ no more than allowed. */
const pauseLogE = Math.log(1_000);
/** A certificate is wrong with probability 5 % at most. */
const certificateLogE = Math.log(20);
/** One end of a process may be anybody's fault. */
const crashesMin = 2;
/**
 * Inferences that count as one trial of the crash process. Its bets reach down to rates of 0.3 % of
 * its trials, so blocks of 100 let it see one crash in 30,000 inferences.
 */
const blockCalls = 100;

export interface SoakFinding {
  readonly verdict: SoakVerdict;
  readonly code: string;
  readonly why: string;
}

/** Undefined when nothing new can be said. A rollback comes before all else. */
export function judgeSoak(facts: SoakFacts, counts: SoakCounts): SoakFinding | undefined {
  const isNew = (finding: SoakFinding | undefined) =>
    finding !== undefined && !counts.reached.includes(finding.verdict) ? finding : undefined;
  return (
    (facts.previous === null ? undefined : judgeCrashes(facts, counts)) ??
    judgeLabels(facts, counts) ??
    isNew(judgeDisagreement(facts, counts)) ??
    isNew(judgeCertificate(facts, counts))
  );
}

/** ln E of every process, for the report. */
export function soakNumbers(facts: SoakFacts, counts: SoakCounts): GateResult["numbers"] {
  const { compared, disagreed, worse, better, labelled, asked, calls, crashes } = counts;
  return {
    compared,
    disagreed,
    worse,
    better,
    labelled,
    asked,
    calls,
    crashes,
    crashesLogE: crashesLogE(facts, counts),
    labelsLogE: mcnemarLogE(worse, better),
    disagreementLogE: disagreementLogE(facts, counts),
    certificateLogE: marginLogE(facts, counts),
  };
}

function judgeCrashes(facts: SoakFacts, counts: SoakCounts): SoakFinding | undefined {
  const { crashes, calls } = counts;
  const limit = Math.log(1 / alphaOf("soak-crashes", facts.alphaDevice));
  if (crashes < crashesMin || crashesLogE(facts, counts) < limit) return undefined;
  const { before } = facts;
  return {
    verdict: "rolled-back",
    code: "soak-crashes",
    why: `the serving process crashed or hung ${crashes} times over ${calls} inferences; the model before did so ${before.crashes} times over ${before.calls}`,
  };
}

/** The null: no more crashes than are nobody's fault, or than there were before. */
function crashesLogE({ spec, before }: SoakFacts, { calls, crashes }: SoakCounts): number {
  const rateBefore = before.crashes === 0 ? 0 : wilsonInterval(before.crashes, before.calls)[1];
  const rate = Math.min(0.5, Math.max(spec.crashFractionMax, rateBefore) * blockCalls);
  return bernoulliLogE(
    { ones: crashes, zeros: Math.floor(calls / blockCalls) },
    { rate, side: "above" },
  );
}

function judgeLabels({ alphaDevice }: SoakFacts, counts: SoakCounts): SoakFinding | undefined {
  const { worse, better, labelled } = counts;
  if (mcnemarLogE(worse, better) < Math.log(1 / alphaOf("soak-labels", alphaDevice))) return;
  return {
    verdict: "rolled-back",
    code: "soak-labels",
    why: `of ${labelled} labelled live samples on which the models differ ${worse} got worse and ${better} better`,
  };
}

function judgeDisagreement(facts: SoakFacts, counts: SoakCounts): SoakFinding | undefined {
  if (disagreementLogE(facts, counts) < pauseLogE) return undefined;
  return {
    verdict: "paused",
    code: "soak-disagreement",
    why: `the models differ on ${counts.disagreed} of ${counts.compared} live inputs, more than the ${percent(facts.disagreementMax)} that were expected; labels of these samples would tell which one is right`,
  };
}

function judgeCertificate(facts: SoakFacts, counts: SoakCounts): SoakFinding | undefined {
  if (marginLogE(facts, counts) < certificateLogE) return undefined;
  return {
    verdict: "certified",
    code: "soak-certificate",
    why: `the models differ on ${counts.disagreed} of ${counts.compared} live inputs: accuracy fell by less than ${percent(facts.spec.margin)} (95 %), shown without a label`,
  };
}

function disagreementLogE({ disagreementMax }: SoakFacts, counts: SoakCounts): number {
  return bernoulliLogE(disagreements(counts), { rate: disagreementMax, side: "above" });
}

/** Accuracy falls by no more than the share of inputs on which the models differ. */
function marginLogE({ spec }: SoakFacts, counts: SoakCounts): number {
  return bernoulliLogE(disagreements(counts), { rate: spec.margin, side: "below" });
}

const disagreements = ({ compared, disagreed }: SoakCounts) => ({
  ones: disagreed,
  zeros: compared - disagreed,
});

const percent = (fraction: number) => `${(fraction * 100).toFixed(2)} %`;

/**
 * d0: the ordered limit, or the upper end of what the trial saw on the golden shard, where that is
 * more. A release that repairs a tenth of the answers differs on a tenth of them.
 */
export function allowedDisagreement(limit: number, gates: readonly GateResult[]): number {
  const { worse, better, n } = gates.find(({ gate }) => gate === "paired-metric")?.numbers ?? {};
  if (worse === undefined || better === undefined || !n) return limit;
  return Math.min(0.5, Math.max(limit, wilsonInterval(Math.min(n, worse + better), n)[1]));
}

/** Metric of both models on the golden shard; null when the trial had no pair. */
export function goldenOf(gates: readonly GateResult[]): SoakFacts["golden"] {
  const floor = gates.find(({ gate }) => gate === "metric-floor")?.numbers;
  const paired = gates.find(({ gate }) => gate === "paired-metric")?.numbers;
  const { value, n } = floor ?? {};
  const { worse, better } = paired ?? {};
  if (value === undefined || !n || worse === undefined || better === undefined) return null;
  return { before: { mean: value + (worse - better) / n, n }, after: { mean: value, n } };
}
