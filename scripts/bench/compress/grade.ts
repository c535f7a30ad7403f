/** How many samples each file answers rightly, and which file a side would pick by that. */
import { sha256Hex } from "../../../shared/artifact/hash.ts";
import { isFleetError } from "../../../shared/errors.ts";
import { answersOf, rightAnswers } from "./answer.ts";
import { type Subject, takeSamples } from "./subject.ts";
import type { Variant } from "./variant.ts";

/** A file with its answers to the same samples as every other file of the same list. */
export interface Graded {
  readonly variant: Variant;
  readonly right: readonly boolean[];
  readonly hits: number;
}

export interface Grades {
  readonly graded: readonly Graded[];
  readonly refusals: readonly { readonly recipe: string; readonly reason: string }[];
}

/** Answers at `indices` of the labelled samples. A file that the runtime refuses is a refusal. */
export async function gradeAll(
  subject: Subject,
  variants: readonly Variant[],
  indices: Uint32Array,
): Promise<Grades> {
  const samples = takeSamples(subject, subject.labelled, indices);
  const graded: Graded[] = [];
  const refusals: { recipe: string; reason: string }[] = [];
  // Several recipes may come to one file, of which one run is enough.
  const known = new Map<string, readonly boolean[]>();
  for (const variant of variants) {
    const hash = sha256Hex(variant.bytes);
    try {
      const right =
        known.get(hash) ??
        rightAnswers(subject, await answersOf(variant.bytes, subject, samples), indices);
      known.set(hash, right);
      graded.push({ variant, right, hits: right.filter(Boolean).length });
    } catch (error) {
      const reason = isFleetError(error) ? error.message : String(error);
      refusals.push({ recipe: variant.name, reason: `onnxruntime-node: ${reason}`.slice(0, 300) });
    }
  }
  return { graded, refusals };
}

/** The file with the most right answers; of equal ones the smallest. Undefined of none. */
export function bestOf(graded: readonly Graded[]): Graded | undefined {
  return graded.toSorted(byAccuracy)[0];
}

/** More right answers first, of equal ones the smaller file. */
export function byAccuracy(a: Graded, b: Graded): number {
  return b.hits - a.hits || a.variant.bytes.length - b.variant.bytes.length;
}

/** Samples that `ours` answers wrongly and `theirs` rightly, and the reverse. */
export function flipsBetween(ours: Graded, theirs: Graded): { worse: number; better: number } {
  let worse = 0;
  let better = 0;
  ours.right.forEach((isRight, at) => {
    if (!isRight && theirs.right[at]) worse++;
    if (isRight && !theirs.right[at]) better++;
  });
  return { worse, better };
}

/** Share of right answers in percent. */
export function percent({ hits, right }: Graded): number {
  return (100 * hits) / right.length;
}

/**
 * Holm's step-down test (1979): how many of the hypotheses with these p-values are rejected while the chance
 * of one false rejection among them stays below alpha.
 */
export function holmRejections(pValues: readonly number[], alpha: number): number {
  const sorted = pValues.toSorted((a, b) => a - b);
  const kept = sorted.findIndex((p, at) => p > alpha / (sorted.length - at));
  return kept === -1 ? sorted.length : kept;
}
