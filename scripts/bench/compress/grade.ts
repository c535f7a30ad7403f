/** How many samples each file answers rightly, and which file a side would pick by that. */
import { sha256Hex } from "../../../shared/artifact/hash.ts";
import { rightAnswers } from "./answer.ts";
import { answerAll } from "./answer-all.ts";
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
  // Several recipes may come to one file, of which one run is enough.
  const groups = [...Map.groupBy(variants, ({ bytes }) => sha256Hex(bytes)).values()];
  const graded = new Map<Variant, Graded>();
  const refusals: { recipe: string; reason: string }[] = [];
  const files = groups.map(([first]) => first!.bytes);
  await answerAll(files, subject, samples, (at, answer) => {
    if ("reason" in answer) {
      const reason = `onnxruntime-node: ${answer.reason}`.slice(0, 300);
      refusals.push(...groups[at]!.map(({ name }) => ({ recipe: name, reason })));
      return;
    }
    const right = rightAnswers(subject, answer.answers, indices);
    const hits = right.filter(Boolean).length;
    for (const variant of groups[at]!) graded.set(variant, { variant, right, hits });
  });
  return { graded: variants.flatMap((variant) => graded.get(variant) ?? []), refusals };
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
