/** Scores of one variant over the parts of a golden pool, purely. */
import type { GoldenSet } from "../../shared/evaluation/golden-set.ts";
import type { GoldenSplit } from "../../shared/evaluation/golden-split.ts";
import { wilsonInterval } from "../../shared/statistics/binomial.ts";

export interface Answers {
  readonly top1: Int32Array;
  /** Flattened outputs per sample, for models without labels. */
  readonly outputs: readonly Float32Array[];
}

export interface Score {
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly n: number;
}

export function scoresOf(
  set: GoldenSet,
  split: GoldenSplit,
  answers: Answers,
  source: Answers,
): { selection: Score; sealed: Score } {
  const score = (indices: Uint32Array) =>
    set.metric === "top-1" ? accuracy(set, indices, answers) : agreement(indices, answers, source);
  return { selection: score(split.selection), sealed: score(split.sealed) };
}

function accuracy(set: GoldenSet, indices: Uint32Array, { top1 }: Answers): Score {
  const hits = indices.filter((index) => top1[index] === set.labels[index]).length;
  const [low, high] = wilsonInterval(hits, indices.length);
  return { value: hits / indices.length, low, high, n: indices.length };
}

/** Mean cosine similarity of the outputs to the source's, over samples; the interval is its range. */
function agreement(indices: Uint32Array, answers: Answers, source: Answers): Score {
  const values = [...indices].map((index) =>
    cosine(answers.outputs[index]!, source.outputs[index]!),
  );
  const value = values.reduce((a, b) => a + b, 0) / values.length;
  return { value, low: Math.min(...values), high: Math.max(...values), n: values.length };
}

function cosine(a: Float32Array, b: Float32Array): number {
  let dot = 0;
  let aa = 0;
  let bb = 0;
  for (let at = 0; at < a.length; at++) {
    dot += a[at]! * b[at]!;
    aa += a[at]! ** 2;
    bb += b[at]! ** 2;
  }
  return aa === 0 && bb === 0 ? 1 : dot / Math.sqrt(aa * bb || 1);
}

/** Labelled samples that got worse or better than the source's answers. */
export function compareWithSource(
  set: GoldenSet,
  indices: Uint32Array,
  answers: Answers,
  source: Answers,
): { worse: number; better: number } {
  if (set.metric !== "top-1") return { worse: 0, better: 0 };
  const right = ({ top1 }: Answers, index: number) => top1[index] === set.labels[index];
  const count = (holds: (index: number) => boolean) => indices.filter(holds).length;
  return {
    worse: count((index) => right(source, index) && !right(answers, index)),
    better: count((index) => !right(source, index) && right(answers, index)),
  };
}
