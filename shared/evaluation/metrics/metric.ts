/**
 * What a metric is: how one sample is scored, and tests on scored samples that hold in finite samples.
 *
 * Invariants: a loss lies in [0, 1] and 0 is perfect; a value lies in [0, 1] and 1 is perfect, so one
 * floor and one margin read alike for all metrics; no test leans on a limit theorem.
 */
import type { Random } from "../../prng.ts";

/** What a model said of samples, in their order. */
export interface Answered {
  /** Class index per sample; unused by metrics of raw outputs. */
  readonly top1: ArrayLike<number>;
  /** Flattened outputs per sample; empty for models that classify. */
  readonly outputs: readonly Float32Array[];
}

/** What is true of the same samples. */
export interface Truth {
  /** Class index per sample; empty where the metric needs none. */
  readonly labels: ArrayLike<number>;
  /** Flattened targets per sample; empty where the metric needs none. */
  readonly targets: readonly Float32Array[];
  /** The error that counts as worthless, in the target's unit (`rmse`); 1 elsewhere. */
  readonly scale: number;
}

/** Samples with their losses; class and prediction are −1 where there are none. */
export interface Judged {
  readonly losses: Float64Array;
  readonly labels: Int32Array;
  readonly top1: Int32Array;
}

/** A value with its two-sided 95 % interval, which may be approximate: no verdict rests on it. */
export interface Estimate {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

export interface Metric {
  /** What a golden set must bring. */
  readonly truth: "labels" | "targets";
  readonly output: "classification" | "tensors";
  /** What the value is, for people: "97 % right answers". */
  readonly says: string;
  /** The value is the share of samples with loss 0. */
  readonly isShare?: true;
  /** Errors: `golden-mismatch` when an answer does not fit its truth. */
  lossOf(at: number, answered: Answered, truth: Truth): number;
  estimate(judged: Judged): Estimate;
  /** True when the metric lies below `floor`; wrong with probability at most alpha. */
  isBelow(judged: Judged, floor: number, alpha: number): boolean;
  /**
   * p of the paired test that `fresh` is worse than `old` on the same samples. Valid in finite
   * samples; `alpha` only says how finely a Monte Carlo p is wanted.
   */
  worseP(pair: Pair, alpha: number, random: Random): number;
  /**
   * Upper bound of the drop of the value at one-sided level 1 − alpha; undefined where the metric has
   * none.
   */
  dropBound(pair: Pair, alpha: number): number | undefined;
}

export interface Pair {
  readonly fresh: Judged;
  readonly old: Judged;
}

export function judge(metric: Metric, answered: Answered, truth: Truth): Judged {
  const classifies = metric.output === "classification";
  const n = classifies ? truth.labels.length : truth.targets.length;
  return {
    losses: Float64Array.from({ length: n }, (_, at) => metric.lossOf(at, answered, truth)),
    labels: Int32Array.from({ length: n }, (_, at) => (classifies ? truth.labels[at]! : -1)),
    top1: Int32Array.from({ length: n }, (_, at) => (classifies ? answered.top1[at]! : -1)),
  };
}

/** The samples at `indices` alone. */
export function select(judged: Judged, indices: ArrayLike<number>): Judged {
  const pick = (values: ArrayLike<number>) => Array.from(indices, (at) => values[at]!);
  return {
    losses: Float64Array.from(pick(judged.losses)),
    labels: Int32Array.from(pick(judged.labels)),
    top1: Int32Array.from(pick(judged.top1)),
  };
}

/** Losses that differ by less are equal: two machines round differently. */
const lossTolerance = 1e-9;

/** Samples whose loss rose and fell. */
export function flipsOf({ fresh, old }: Pair): { worse: number; better: number } {
  let worse = 0;
  let better = 0;
  for (let at = 0; at < fresh.losses.length; at++) {
    const change = fresh.losses[at]! - old.losses[at]!;
    if (change > lossTolerance) worse++;
    else if (change < -lossTolerance) better++;
  }
  return { worse, better };
}
