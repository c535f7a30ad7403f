/** A process that answers for the benchmark beside it: a subject's samples once, then file after file, over IPC. */
import { answersOf } from "./answer.ts";
import type { Answer, Samples, Subject } from "./subject.ts";

/** What the parent says; what is answered is `FileAnswer`. */
export type AnswerOrder =
  | { readonly kind: "samples"; readonly input: Subject["input"]; readonly samples: Samples }
  | { readonly kind: "file"; readonly bytes: Uint8Array };

export type FileAnswer = { readonly answers: readonly Answer[] } | { readonly reason: string };

let held: Extract<AnswerOrder, { kind: "samples" }> | undefined;

process.on("message", async (order: AnswerOrder) => {
  if (order.kind === "samples") held = order;
  else process.send?.(await answer(order.bytes));
});

async function answer(bytes: Uint8Array): Promise<FileAnswer> {
  if (held === undefined) return { reason: "there are no samples yet" };
  try {
    return { answers: await answersOf(bytes, held, held.samples) };
  } catch (error) {
    return { reason: error instanceof Error ? error.message : String(error) };
  }
}
