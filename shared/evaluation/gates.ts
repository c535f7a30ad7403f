/**
 * The gates of a trial as pure decisions: numbers in, verdict and one sentence out.
 *
 * Invariant: a gate that can fail a healthy release does so with probability at most the alpha that it
 * is given; error-budget.ts says how much that is.
 */
import type { GateResult } from "../protocol/messages/attempt-outcome.ts";
import { binomialUpperTail, mcnemarExact } from "../statistics/binomial.ts";
import { medianLowerBound } from "../statistics/median.ts";

const percent = (fraction: number) => `${(fraction * 100).toFixed(2)} %`;

/** Gate 0: P(Bin(n, p0) ≥ flips) ≤ alpha says that this machine computes something else. */
export function parityGate(o: {
  flips: number;
  n: number;
  flipFractionMax: number;
  alpha: number;
}): GateResult {
  const p = binomialUpperTail(o.flips, o.n, o.flipFractionMax);
  return {
    gate: "parity",
    verdict: p <= o.alpha ? "fail" : "pass",
    why: `${o.flips} of ${o.n} answers differ from the controller's for the same file (p = ${p.toExponential(1)}, limit ${o.alpha.toExponential(1)})`,
    numbers: { flips: o.flips, n: o.n, p, alpha: o.alpha },
  };
}

/**
 * The class's floor: P(Bin(n, floor) ≤ hits) ≤ alpha says that the true share is below it. Exact, so a
 * device whose true metric equals the floor fails with probability at most alpha.
 */
export function metricFloorGate(o: {
  hits: number;
  n: number;
  floor: number;
  alpha: number;
}): GateResult {
  const value = o.n === 0 ? 0 : o.hits / o.n;
  const p = binomialUpperTail(o.n - o.hits, o.n, 1 - o.floor);
  return {
    gate: "metric-floor",
    verdict: o.n === 0 || p <= o.alpha ? "fail" : "pass",
    why: `${percent(value)} of ${o.n} golden samples are right; the class's floor is ${percent(o.floor)} (p = ${p.toExponential(1)}, limit ${o.alpha.toExponential(1)})`,
    numbers: { value, n: o.n, floor: o.floor, p, alpha: o.alpha },
  };
}

/** Gate 1: exact one-sided McNemar on the same samples. */
export function pairedMetricGate(o: {
  worse: number;
  better: number;
  n: number;
  alpha: number;
}): GateResult {
  const p = mcnemarExact(o.worse, o.better);
  return {
    gate: "paired-metric",
    verdict: p <= o.alpha ? "fail" : "pass",
    why: `against the running model ${o.worse} of ${o.n} samples got worse and ${o.better} better (p = ${p.toExponential(1)}, limit ${o.alpha.toExponential(1)})`,
    numbers: { worse: o.worse, better: o.better, n: o.n, p, alpha: o.alpha },
  };
}

/**
 * Gate 2: the lower bound of the median ratio new to old, over ABBA pairs of block medians, must
 * exceed the limit before a device rolls back. A degraded environment is inconclusive.
 */
export function latencyGate(o: {
  ratios: ArrayLike<number>;
  ratioMax: number;
  alpha: number;
  degraded: string | undefined;
}): GateResult {
  const ratioLow = medianLowerBound(o.ratios, o.alpha);
  const pairs = o.ratios.length;
  const numbers = {
    ratioLow: Number.isFinite(ratioLow) ? ratioLow : 0,
    ratioMax: o.ratioMax,
    pairs,
  };
  if (o.degraded !== undefined) {
    return { gate: "latency", verdict: "inconclusive", why: o.degraded, numbers };
  }
  return {
    gate: "latency",
    verdict: ratioLow > o.ratioMax ? "fail" : "pass",
    why: `the new model takes at least ${numbers.ratioLow.toFixed(2)} times the old one's time (${pairs} pairs; limit ${o.ratioMax})`,
    numbers,
  };
}

/** The class's latency budget for one inference, for devices without a running model to compare. */
export function latencyBudgetGate(o: { p50Ms: number; p50MsMax: number | null }): GateResult {
  const over = o.p50MsMax !== null && o.p50Ms > o.p50MsMax;
  return {
    gate: "latency",
    verdict: over ? "fail" : "pass",
    why:
      o.p50MsMax === null
        ? `p50 is ${o.p50Ms.toFixed(3)} ms; the class sets no limit`
        : `p50 is ${o.p50Ms.toFixed(3)} ms; the class allows ${o.p50MsMax} ms`,
    numbers: { p50Ms: o.p50Ms, ...(o.p50MsMax === null ? {} : { p50MsMax: o.p50MsMax }) },
  };
}

/** Memory budget of the runner process, Node and onnxruntime included. */
export function memoryGate(o: {
  ramPeakBytes: number;
  ramPeakBytesMax: number | null;
}): GateResult {
  const over = o.ramPeakBytesMax !== null && o.ramPeakBytes > o.ramPeakBytesMax;
  const limit = o.ramPeakBytesMax === null ? "no limit" : `${megabytes(o.ramPeakBytesMax)} allowed`;
  return {
    gate: "memory",
    verdict: over ? "fail" : "pass",
    why: `the runner's peak memory is ${megabytes(o.ramPeakBytes)} (${limit})`,
    numbers: { ramPeakBytes: o.ramPeakBytes },
  };
}

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
