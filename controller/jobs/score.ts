/**
 * Scores of one variant over the parts of a golden pool, purely.
 *
 * With labels or targets the golden set's metric judges (shared/evaluation/metrics). Without them it is
 * agreement with the source model: the share of equal classes, or the mean cosine similarity of the
 * flattened outputs.
 */
import type { GoldenSet } from "../../shared/evaluation/golden-set.ts";
import type { GoldenSplit } from "../../shared/evaluation/golden-split.ts";
import {
  flipsOf,
  type Judged,
  judge,
  type Metric,
} from "../../shared/evaluation/metrics/metric.ts";
import { metricOf } from "../../shared/evaluation/metrics/registry.ts";
import { wilsonInterval } from "../../shared/statistics/binomial.ts";
import { exactInterval } from "../../shared/statistics/exact-interval.ts";

/** Answers at the places of their samples in the pool; −1 and nothing where none was asked for. */
export interface Answers {
  readonly top1: Int32Array;
  /** Flattened outputs per sample; empty for models that classify. */
  readonly outputs: readonly Float32Array[];
}

export interface Score {
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly n: number;
}

/** Samples that a variant answers: all that scores or shards rest on, in the pool's order. */
export function judgedSamples({ selection, sealed, shards }: GoldenSplit): Uint32Array {
  return together(selection, sealed, ...shards);
}

/** Samples that the source answers: those that it is compared on. */
export function sourceSamples(set: GoldenSet, { selection, sealed }: GoldenSplit): Uint32Array {
  return metricOf(set.metric) === undefined ? together(selection, sealed) : selection;
}

function together(...parts: readonly Uint32Array[]): Uint32Array {
  return Uint32Array.from(parts.flatMap((part) => [...part])).sort();
}

/** The golden set's metric on the samples at `indices`; without labels, likeness to the source's answers. */
export function scoreOf(
  set: GoldenSet,
  indices: Uint32Array,
  answers: Answers,
  source: Answers,
): Score {
  const metric = metricOf(set.metric);
  if (metric !== undefined) {
    const estimate = metric.estimate(judgeAt(metric, set, answers, indices));
    return { ...estimate, n: indices.length };
  }
  if (answers.outputs.length === 0) {
    return share(indices, (index) => answers.top1[index] === source.top1[index]);
  }
  return mean([...indices].map((at) => cosine(answers.outputs[at]!, source.outputs[at]!)));
}

/** As `scoreOf`; the interval of a share of samples is exact, whatever their number. */
export function exactScoreOf(
  set: GoldenSet,
  indices: Uint32Array,
  answers: Answers,
  source: Answers,
): Score {
  const score = scoreOf(set, indices, answers, source);
  const metric = metricOf(set.metric);
  const isShare = metric === undefined ? answers.outputs.length === 0 : metric.isShare === true;
  if (!isShare) return score;
  const [low, high] = exactInterval(Math.round(score.value * score.n), score.n, intervalAlpha);
  return { ...score, low, high };
}

/** All intervals are two-sided ones of 95 %. */
const intervalAlpha = 0.05;

/** The losses of the answers to the samples at `indices`. */
export function judgeAt(
  metric: Metric,
  { labels, targets, scale }: GoldenSet,
  { top1, outputs }: Answers,
  indices: Uint32Array,
): Judged {
  const pick = <T>(values: ArrayLike<T>): T[] =>
    values.length === 0 ? [] : Array.from(indices, (index) => values[index]!);
  return judge(
    metric,
    { top1: pick(top1), outputs: pick(outputs) },
    { labels: pick(labels), targets: pick(targets), scale },
  );
}

function share(indices: Uint32Array, holds: (index: number) => boolean): Score {
  const hits = indices.filter(holds).length;
  const [low, high] = wilsonInterval(hits, indices.length);
  return { value: hits / indices.length, low, high, n: indices.length };
}

/** Two-sided 95 % quantile of the normal distribution. */
const z95 = 1.959963984540054;

/** Mean with its normal interval, kept within 0 and 1; one value alone says nothing of its spread. */
function mean(values: readonly number[]): Score {
  const n = values.length;
  const value = values.reduce((sum, each) => sum + each, 0) / n;
  const squares = values.reduce((sum, each) => sum + (each - value) ** 2, 0);
  const error = n < 2 ? 1 : z95 * Math.sqrt(squares / (n - 1) / n);
  return { value, low: Math.max(0, value - error), high: Math.min(1, value + error), n };
}

/** 1 for outputs of one direction, 0 for unrelated ones and for those that are no numbers. */
function cosine(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return 0;
  let dot = 0;
  let aa = 0;
  let bb = 0;
  for (let at = 0; at < a.length; at++) {
    dot += a[at]! * b[at]!;
    aa += a[at]! ** 2;
    bb += b[at]! ** 2;
  }
  if (aa === 0 && bb === 0) return 1;
  const value = dot / Math.sqrt(aa * bb);
  // Rounding may carry equal outputs a little beyond 1.
  return Number.isFinite(value) ? Math.min(1, Math.max(0, value)) : 0;
}

/** Samples with a truth that got worse or better than the source's answers. */
export function compareWithSource(
  set: GoldenSet,
  indices: Uint32Array,
  answers: Answers,
  source: Answers,
): { worse: number; better: number } {
  const metric = metricOf(set.metric);
  if (metric === undefined) return { worse: 0, better: 0 };
  return flipsOf({
    fresh: judgeAt(metric, set, answers, indices),
    old: judgeAt(metric, set, source, indices),
  });
}
