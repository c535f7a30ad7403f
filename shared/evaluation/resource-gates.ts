/**
 * The gates of a trial that rest on time, memory and energy, as pure decisions.
 *
 * Invariant: as in gates.ts; a limit without a test (memory, the first install's latency) is one that a
 * healthy release keeps.
 */
import type { GateResult } from "../protocol/messages/attempt-outcome.ts";
import { median, medianLowerBound } from "../statistics/median.ts";

/** Above this load per core, as the system counts it, others take the time (reference §3, step 1). */
const loadPerCoreMax = 0.3;
/** Above this share of stolen time the machine is busy whatever its load average says. */
const stolenFractionMax = 0.2;

/** What the machine was like while it was measured. */
export interface Environment {
  /** Undefined where the system does not tell. */
  readonly loadPerCore: number | undefined;
  readonly stolenFraction: number;
  /** Why nothing that is measured now counts, in words: throttled, hot, on a low battery. */
  readonly unfit: string | undefined;
}

/**
 * Gate 2, latency. Fails when the lower bound of the median ratio new to old exceeds the limit, of wall
 * time or of processor time; each bound has half of alpha. A model that looks slow on a
 * busy machine, yet not beyond doubt, is undecided. An unfit environment decides nothing.
 */
export function latencyGate(o: {
  wallRatios: readonly number[];
  cpuRatios: readonly number[];
  ratioMax: number;
  alpha: number;
  environment: Environment;
}): GateResult {
  const { ratioMax, environment } = o;
  const wallLow = medianLowerBound(o.wallRatios, o.alpha / 2);
  const cpuLow = medianLowerBound(o.cpuRatios, o.alpha / 2);
  const [ratioMedian, cpuRatioMedian] = [median(o.wallRatios), median(o.cpuRatios)];
  const busy = busyWords(environment);
  const isSlow = wallLow > ratioMax || (cpuLow > ratioMax && ratioMedian > ratioMax);
  const looksSlow = ratioMedian > ratioMax || cpuRatioMedian > ratioMax;
  const found = `the new model takes at least ${told(wallLow)} times the old one's time and ${told(cpuLow)} times its processor time (${o.wallRatios.length} pairs; limit ${ratioMax})`;
  const verdict = (): Pick<GateResult, "verdict" | "why"> => {
    if (environment.unfit !== undefined) return { verdict: "inconclusive", why: environment.unfit };
    if (isSlow) return { verdict: "fail", why: found };
    if (busy === undefined || !looksSlow) return { verdict: "pass", why: found };
    return { verdict: "inconclusive", why: `${busy}; ${found}` };
  };
  return {
    gate: "latency",
    ...verdict(),
    numbers: {
      ...{ ratioLow: finite(wallLow), ratioMedian, ratioMax },
      ...(o.cpuRatios.length === 0 ? {} : { cpuRatioLow: finite(cpuLow), cpuRatioMedian }),
      ...{ pairs: o.wallRatios.length, stolenFraction: environment.stolenFraction },
      ...(environment.loadPerCore === undefined ? {} : { loadPerCore: environment.loadPerCore }),
    },
  };
}

function busyWords({ loadPerCore, stolenFraction }: Environment): string | undefined {
  if (stolenFraction > stolenFractionMax) {
    return `the machine is too busy to judge latency: others took ${(stolenFraction * 100).toFixed(0)} % of the time`;
  }
  if (loadPerCore !== undefined && loadPerCore > loadPerCoreMax) {
    return `the machine is too busy to judge latency: its load is ${loadPerCore.toFixed(2)} per core`;
  }
  return undefined;
}

const finite = (bound: number) => (Number.isFinite(bound) ? bound : 0);
const told = (bound: number) => finite(bound).toFixed(2);

/**
 * Energy per inference against the running model, on a counter of the whole machine. Fails when the lower
 * bound of the median ratio exceeds the limit, where one is set; skipped without a counter.
 */
export function energyGate(o: {
  source: string | undefined;
  ratios: readonly number[];
  ratioMax: number | null;
  alpha: number;
}): GateResult {
  const { source, ratios, ratioMax } = o;
  if (source === undefined || ratios.length === 0) {
    const why =
      source === undefined ? "energy source none" : `energy source ${source} gave no value`;
    return { gate: "energy", verdict: "skipped", why, numbers: {} };
  }
  const low = medianLowerBound(ratios, o.alpha);
  const limit = ratioMax === null ? "no limit" : `limit ${ratioMax}`;
  return {
    gate: "energy",
    verdict: ratioMax !== null && low > ratioMax ? "fail" : "pass",
    why: `the new model takes at least ${told(low)} times the old one's energy (${source}, ${ratios.length} pairs; ${limit})`,
    numbers: { energyRatioLow: finite(low), energyRatioMedian: median(ratios) },
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

/** Peak memory of the runner process, Node and onnxruntime included, against the class's budget. */
export function memoryGate(o: {
  ramPeakBytes: number;
  ramPeakBytesMax: number | null;
  /** Of the running model under the same work; undefined without one. */
  oldRamPeakBytes: number | undefined;
}): GateResult {
  const over = o.ramPeakBytesMax !== null && o.ramPeakBytes > o.ramPeakBytesMax;
  const limit = o.ramPeakBytesMax === null ? "no limit" : `${megabytes(o.ramPeakBytesMax)} allowed`;
  const old =
    o.oldRamPeakBytes === undefined ? "" : `, the running model's ${megabytes(o.oldRamPeakBytes)}`;
  return {
    gate: "memory",
    verdict: over ? "fail" : "pass",
    why: `the runner's peak memory is ${megabytes(o.ramPeakBytes)}${old} (${limit})`,
    numbers: {
      ramPeakBytes: o.ramPeakBytes,
      ...(o.oldRamPeakBytes === undefined ? {} : { oldRamPeakBytes: o.oldRamPeakBytes }),
    },
  };
}

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
