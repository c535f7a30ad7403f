/**
 * How a model's answers become one number with an interval. Every metric is one entry; who evaluates
 * does not ask which one it is.
 *
 * `agreement` needs no labels: it compares with the source model. For classes it is the share of equal
 * answers. For other outputs it is, per sample, 1 − ‖a − b‖² / ‖b‖², at least 0: 1 for equal outputs, 0
 * when the difference is as strong as the output itself; its mean is a share of energy that was kept.
 */
import { wilsonInterval } from "../statistics/binomial.ts";
import type { MetricName } from "./golden-set.ts";

/** Answers of one model, by place in the pool. */
export interface PoolAnswers {
  /** Class index per sample; −1 where there is none. */
  readonly top1: Int32Array;
  /** For models that do not classify: agreement with the source per sample. */
  readonly agreement: Float64Array | undefined;
}

export interface Judged {
  readonly candidate: PoolAnswers;
  readonly source: PoolAnswers;
  readonly labels: Int32Array;
}

export interface MetricValue {
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly n: number;
}

type Metric = (judged: Judged, samples: Uint32Array) => MetricValue;

const metrics: Readonly<Record<MetricName, Metric>> = {
  "top-1": ({ candidate, labels }, samples) =>
    share(samples, (at) => candidate.top1[at] === labels[at]),
  agreement: ({ candidate, source }, samples) =>
    candidate.agreement === undefined
      ? share(samples, (at) => candidate.top1[at] === source.top1[at])
      : mean(samples, candidate.agreement),
};

/** The metric's value over `samples`, which are places in the pool. */
export function metricOver(name: MetricName, judged: Judged, samples: Uint32Array): MetricValue {
  return metrics[name](judged, samples);
}

/** Agreement of one sample's output with the source's, and the energies that it is made of. */
export function outputAgreement(
  output: Float32Array,
  source: Float32Array,
): { agreement: number; noise: number; signal: number } {
  if (output.length !== source.length) return { agreement: 0, noise: 1, signal: 0 };
  let noise = 0;
  let signal = 0;
  for (let at = 0; at < source.length; at++) {
    const difference = output[at]! - source[at]!;
    noise += difference * difference;
    signal += source[at]! * source[at]!;
  }
  if (noise === 0) return { agreement: 1, noise, signal };
  const kept = 1 - noise / signal;
  return { agreement: Number.isFinite(kept) ? Math.max(0, kept) : 0, noise, signal };
}

function share(samples: Uint32Array, holds: (at: number) => boolean): MetricValue {
  let hits = 0;
  for (const at of samples) if (holds(at)) hits++;
  const n = samples.length;
  const [low, high] = wilsonInterval(hits, n);
  return { value: n === 0 ? 0 : hits / n, low, high, n };
}

/** Two-sided 95 % quantile of the normal distribution. */
const z95 = 1.959963984540054;

/** Mean with its normal interval, kept within 0 and 1. */
function mean(samples: Uint32Array, values: Float64Array): MetricValue {
  const n = samples.length;
  if (n === 0) return { value: 0, low: 0, high: 1, n };
  let sum = 0;
  for (const at of samples) sum += values[at]!;
  const value = sum / n;
  let squares = 0;
  for (const at of samples) squares += (values[at]! - value) ** 2;
  const error = n < 2 ? 1 : z95 * Math.sqrt(squares / (n - 1) / n);
  return { value, low: Math.max(0, value - error), high: Math.min(1, value + error), n };
}
