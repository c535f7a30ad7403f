/**
 * F1 of each class that the samples hold, averaged over these classes. No sample has a share of it, so
 * its tests are of another kind. Below a floor: given the N samples that are of a class or were
 * taken for it, the hits are binomial with share J, and F1 = 2J / (1 + J); the mean of exact upper bounds,
 * each at alpha / classes, bounds the metric (union bound). Worse than the old model: the two predictions of each
 * sample are swapped at random, exact when they are exchangeable.
 */
import type { Random } from "../../prng.ts";
import { wilsonInterval } from "../../statistics/binomial.ts";
import { exactInterval } from "../../statistics/exact-interval.ts";
import type { Judged, Metric } from "./metric.ts";
import { monteCarloP } from "./monte-carlo.ts";
import { top1 } from "./top-1.ts";

export const macroF1: Metric = {
  truth: "labels",
  output: "classification",
  says: "mean F1 of the classes",
  lossOf: top1.lossOf,
  estimate(judged) {
    const counts = countsOf(judged);
    const mean = (value: (count: Count) => number) => meanOf(counts.map(value));
    return {
      value: mean(({ hits, n }) => f1At(n === 0 ? 0 : hits / n)),
      low: mean(({ hits, n }) => f1At(wilsonInterval(hits, n)[0])),
      high: mean(({ hits, n }) => f1At(wilsonInterval(hits, n)[1])),
    };
  },
  isBelow(judged, floor, alpha) {
    const counts = countsOf(judged);
    const level = (2 * alpha) / Math.max(1, counts.length);
    return meanOf(counts.map(({ hits, n }) => f1At(exactInterval(hits, n, level)[1]))) < floor;
  },
  worseP({ fresh, old }, alpha, random) {
    const { coded, value } = macroOf(fresh.labels);
    const [after, before] = [coded(fresh.top1), coded(old.top1)];
    const drop = value(before) - value(after);
    return monteCarloP(drop, swappedDrop({ after, before }, value, random), alpha);
  },
  dropBound: () => undefined,
};

interface Count {
  readonly hits: number;
  /** Samples that are of the class or were taken for it. */
  readonly n: number;
}

const f1At = (jaccard: number) => (2 * jaccard) / (1 + jaccard);
const meanOf = (values: readonly number[]) =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);

function countsOf({ labels, top1: answers }: Judged): Count[] {
  return [...new Set(labels)].map((label) => {
    let hits = 0;
    let n = 0;
    for (let at = 0; at < labels.length; at++) {
      const [is, said] = [labels[at] === label, answers[at] === label];
      if (is && said) hits++;
      if (is || said) n++;
    }
    return { hits, n };
  });
}

/** The metric as a function of predictions, coded as places of the classes that the samples hold. */
function macroOf(labels: Int32Array): {
  coded: (answers: Int32Array) => Int32Array;
  value: (coded: Int32Array) => number;
} {
  const places = new Map([...new Set(labels)].map((label, place) => [label, place]));
  const coded = (answers: Int32Array) => answers.map((answer) => places.get(answer) ?? -1);
  const truth = coded(labels);
  const support = new Uint32Array(places.size);
  for (const place of truth) support[place]!++;
  const value = (answers: Int32Array) => {
    const hits = new Uint32Array(places.size);
    const said = new Uint32Array(places.size);
    for (let at = 0; at < answers.length; at++) {
      const place = answers[at]!;
      if (place < 0) continue;
      said[place]!++;
      if (place === truth[at]) hits[place]!++;
    }
    const f1s = Array.from(support, (count, place) => (2 * hits[place]!) / (count + said[place]!));
    return meanOf(f1s);
  };
  return { coded, value };
}

/** Draws the drop with the two predictions of each sample in random order. */
function swappedDrop(
  { after, before }: { after: Int32Array; before: Int32Array },
  value: (answers: Int32Array) => number,
  random: Random,
): () => number {
  const [a, b] = [before.slice(), after.slice()];
  const differing = [...a.keys()].filter((at) => a[at] !== b[at]);
  return () => {
    for (const at of differing) {
      const swap = (random.nextUint32() & 1) === 1;
      a[at] = (swap ? after : before)[at]!;
      b[at] = (swap ? before : after)[at]!;
    }
    return value(a) - value(b);
  };
}
