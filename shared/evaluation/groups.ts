/**
 * The worst class and the worst slice of what was judged: a mean hides them. Each group is held against
 * a floor at its part of alpha (Bonferroni), so all of them together fail a healthy release with
 * probability at most alpha.
 */
import { type Judged, type Metric, select } from "./metrics/metric.ts";
import { top1 } from "./metrics/top-1.ts";

export interface Group {
  readonly name: string;
  readonly index: number;
  readonly value: number;
  readonly n: number;
  /** True when its floor is missed beyond doubt. */
  readonly isBelow: boolean;
}

export interface GroupRule {
  /** Lowest value of a group; null when none is set. */
  readonly floor: number | null;
  readonly alpha: number;
}

/** A smaller group is named only when there is no bigger one: its value says little. */
const tellingSamples = 10;

/**
 * The class with the lowest share of right answers among its samples; one that misses the floor goes
 * before all others. Undefined without classes.
 */
export function worstClass(
  judged: Judged,
  names: readonly string[],
  rule: GroupRule,
): Group | undefined {
  return worst(judged, { metric: top1, groupOf: judged.labels, names }, rule);
}

/** The slice with the lowest value of the metric; undefined without slices. */
export function worstSlice(
  judged: Judged,
  slices: { metric: Metric; groupOf: ArrayLike<number>; names: readonly string[] },
  rule: GroupRule,
): Group | undefined {
  return worst(judged, slices, rule);
}

function worst(
  judged: Judged,
  by: { metric: Metric; groupOf: ArrayLike<number>; names: readonly string[] },
  { floor, alpha }: GroupRule,
): Group | undefined {
  const members = new Map<number, number[]>();
  for (let at = 0; at < by.groupOf.length; at++) {
    const group = by.groupOf[at]!;
    if (group < 0) continue;
    const known = members.get(group);
    if (known === undefined) members.set(group, [at]);
    else known.push(at);
  }
  const groups = [...members].map(([index, samples]): Group => {
    const part = select(judged, samples);
    return {
      name: by.names[index] ?? String(index),
      index,
      value: by.metric.estimate(part).value,
      n: samples.length,
      isBelow: floor !== null && by.metric.isBelow(part, floor, alpha / members.size),
    };
  });
  const telling = groups.filter(({ n, isBelow }) => isBelow || n >= tellingSamples);
  return (telling.length > 0 ? telling : groups).sort(
    (a, b) => Number(b.isBelow) - Number(a.isBelow) || a.value - b.value || b.n - a.n,
  )[0];
}
