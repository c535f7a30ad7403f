/**
 * The gates of a trial that rest on golden samples, as pure decisions: numbers in, verdict and one
 * sentence out.
 *
 * Invariant: a gate that can fail a healthy release does so with probability at most the alpha that it
 * is given; error-budget.ts says how much that is.
 */
import type { Random } from "../prng.ts";
import type { GateResult } from "../protocol/messages/attempt-outcome.ts";
import { binomialUpperTail } from "../statistics/binomial.ts";
import { mcnemarLogE } from "../statistics/e-process.ts";
import { type Group, worstClass, worstSlice } from "./groups.ts";
import type { Judged, Metric, Pair } from "./metrics/metric.ts";

/** One-sided level of the certificate of non-inferiority; no verdict of a device rests on it. */
const certificateAlpha = 0.05;
const nameCharsMax = 48;

const percent = (fraction: number) => `${(fraction * 100).toFixed(2)} %`;
const small = (probability: number) => probability.toExponential(1);

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
    why: `${o.flips} of ${o.n} answers differ from the controller's for the same file (p = ${small(p)}, limit ${small(o.alpha)})`,
    numbers: { flips: o.flips, n: o.n, p, alpha: o.alpha },
  };
}

export interface Floors {
  readonly metric: number;
  /** Null when none is set. */
  readonly class: number | null;
  readonly slice: number | null;
}

/**
 * The class's floors: of the metric, of its worst class and of its worst slice. The floors that are set
 * share alpha evenly; a device whose true value equals its floor fails with probability at most that.
 */
export function metricFloorGate(o: {
  metric: Metric;
  judged: Judged;
  classNames: readonly string[];
  slices: { names: readonly string[]; index: ArrayLike<number> } | null;
  floors: Floors;
  alpha: number;
}): GateResult {
  const { metric, judged, floors, slices } = o;
  const n = judged.losses.length;
  const { value } = metric.estimate(judged);
  const set = [floors.metric, floors.class, floors.slice].filter((floor) => floor !== null);
  const alpha = o.alpha / set.length;
  const byClass = metric.output === "classification" ? judged : undefined;
  const classGroup = byClass && worstClass(byClass, o.classNames, { floor: floors.class, alpha });
  const sliceGroup =
    slices === null
      ? undefined
      : worstSlice(
          judged,
          { metric, groupOf: slices.index, names: slices.names },
          { floor: floors.slice, alpha },
        );
  const isBelow = n === 0 || metric.isBelow(judged, floors.metric, alpha);
  const words = [
    `${percent(value)} ${metric.says} on ${n} golden samples, the class's floor is ${percent(floors.metric)}`,
    ...groupWords("class", classGroup, floors.class),
    ...groupWords("slice", sliceGroup, floors.slice),
  ];
  const fails = isBelow || classGroup?.isBelow === true || sliceGroup?.isBelow === true;
  return {
    gate: "metric-floor",
    verdict: fails ? "fail" : "pass",
    why: words.join("; "),
    numbers: {
      ...{ value, n, floor: floors.metric, alpha: o.alpha },
      ...groupNumbers("worstClass", classGroup),
      ...groupNumbers("worstSlice", sliceGroup),
    },
  };
}

function groupWords(kind: string, group: Group | undefined, floor: number | null): string[] {
  if (group === undefined) return [];
  const limit = floor === null ? "" : `, its floor is ${percent(floor)}`;
  const missed = group.isBelow ? " and is missed" : "";
  const name = group.name.slice(0, nameCharsMax);
  return [`worst ${kind} "${name}": ${percent(group.value)} of ${group.n}${limit}${missed}`];
}

function groupNumbers(name: string, group: Group | undefined): Record<string, number> {
  if (group === undefined) return {};
  return { [name]: group.index, [`${name}Value`]: group.value, [`${name}N`]: group.n };
}

/** Flips of all shards on which this pair of models was compared so far, this one included. */
export interface Looks {
  readonly shards: number;
  readonly worse: number;
  readonly better: number;
}

/**
 * Gate 1: paired with the running model on the same samples. The first shard is judged by the metric's
 * own exact test at `alphaFirst`; with further shards the flips of all of them speak through an
 * e-process at `alphaRepeated`, which may be looked at after each. A shard that is run again is no new
 * look: the models answer the same.
 *
 * The certificate (drop within `margin` at 95 %) informs: only the fleet decides on promotion.
 */
export function pairedMetricGate(o: {
  metric: Metric;
  pair: Pair;
  looks: Looks;
  alphaFirst: number;
  alphaRepeated: number;
  margin: number | null;
  random: Random;
}): GateResult {
  const { looks } = o;
  const n = o.pair.fresh.losses.length;
  const first = looks.shards === 1;
  const alpha = first ? o.alphaFirst : o.alphaRepeated;
  // 1 / E is a p-value (Ville's inequality).
  const p = first
    ? o.metric.worseP(o.pair, alpha, o.random)
    : Math.min(1, Math.exp(-mcnemarLogE(looks.worse, looks.better)));
  const of = first ? `${n} samples` : `the samples of ${looks.shards} shards`;
  const certificate = certificateOf(o);
  return {
    gate: "paired-metric",
    verdict: p <= alpha ? "fail" : "pass",
    why: `against the running model ${looks.worse} of ${of} got worse and ${looks.better} better (p = ${small(p)}, limit ${small(alpha)})${certificate.words}`,
    numbers: {
      ...{ worse: looks.worse, better: looks.better, n, p, alpha },
      ...certificate.numbers,
    },
  };
}

function certificateOf(o: { metric: Metric; pair: Pair; margin: number | null }): {
  words: string;
  numbers: Record<string, number>;
} {
  if (o.margin === null) return { words: "", numbers: {} };
  const dropHigh = o.metric.dropBound(o.pair, certificateAlpha);
  if (dropHigh === undefined) {
    return { words: "; this metric has no certificate", numbers: { margin: o.margin } };
  }
  const certified = dropHigh < o.margin;
  const points = `${(o.margin * 100).toFixed(2)} points`;
  return {
    words: certified
      ? `; certified to be within ${points}`
      : `; not certified to be within ${points}: the drop may be up to ${(dropHigh * 100).toFixed(2)}`,
    numbers: { margin: o.margin, dropHigh, certified: certified ? 1 : 0 },
  };
}
