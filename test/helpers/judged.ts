/** Judged samples made by hand or drawn from a seed. */
import type { Judged } from "../../shared/evaluation/metrics/metric.ts";
import type { Random } from "../../shared/prng.ts";

/** Samples of one class each, right or wrong. */
export function judgedHits(hits: readonly boolean[], labels?: readonly number[]): Judged {
  const of = Int32Array.from(hits, (_, at) => labels?.[at] ?? 0);
  return {
    losses: Float64Array.from(hits, (hit) => (hit ? 0 : 1)),
    labels: of,
    top1: of.map((label, at) => (hits[at] ? label : label + 1)),
  };
}

/** Samples of a metric of raw outputs. */
export function judgedLosses(losses: readonly number[]): Judged {
  const none = new Int32Array(losses.length).fill(-1);
  return { losses: Float64Array.from(losses), labels: none, top1: none };
}

/** Predictions of `classes` classes that are right with probability `share`, else any other class. */
export function judgedClasses(random: Random, n: number, classes: number, share: number): Judged {
  const labels = Int32Array.from({ length: n }, (_, at) => at % classes);
  const top1 = labels.map((label) =>
    random.nextFloat() < share ? label : (label + 1 + random.nextInt(classes - 1)) % classes,
  );
  return { labels, top1, losses: Float64Array.from(labels, (label, at) => +(top1[at] !== label)) };
}

/** `rate` of `runs` that fail, and the most that a promise of `alpha` lets it be: three standard errors. */
export function failureRate(runs: number, fails: () => boolean): number {
  let count = 0;
  for (let run = 0; run < runs; run++) if (fails()) count++;
  return count / runs;
}
export const withinThreeErrors = (alpha: number, runs: number): number =>
  alpha + 3 * Math.sqrt((alpha * (1 - alpha)) / runs);
