/**
 * Asks people which of two models is right on single live samples, once the models differ more than
 * was expected. What came before the alarm is kept in memory, so the first question need not wait.
 */
import { sha256Hex } from "../../shared/artifact/hash.ts";
import { labelSampleBytesMax } from "../../shared/protocol/messages/labels.ts";
import type { PayloadOf } from "../../shared/protocol/registry.ts";
import type { AgentContext } from "../context.ts";
import type { Messenger } from "../messenger.ts";
import type { Comparison, Sample } from "./shadow.ts";
import type { SoakCounts, SoakFacts } from "./soak-state.ts";

const sampleChars = 32;

/** The same bytes have the same name, so that a sample counts once however often it comes. */
export function sampleName(sample: Sample): string {
  const parts = Object.keys(sample)
    .sort()
    .flatMap((tensor) => [new TextEncoder().encode(`${tensor}\0`), sample[tensor]!]);
  return sha256Hex(new Uint8Array(Buffer.concat(parts))).slice(0, sampleChars);
}

/** Stores the question; inside a transaction. False when it was asked before or is too long. */
export function askForLabel(
  { store }: AgentContext,
  messenger: Messenger,
  facts: SoakFacts,
  { sample, fresh, running }: Comparison,
): boolean {
  const bytes = Object.values(sample).reduce((sum, part) => sum + part.byteLength, 0);
  const name = sampleName(sample);
  const { attempt, model } = facts;
  if (bytes > labelSampleBytesMax || store.soakSample(attempt, name) !== undefined) return false;
  const pair = { freshIndex: fresh.index, runningIndex: running.index };
  store.addSoakSample(model, { attempt, sample: name, ...pair });
  messenger.enqueue("label-request", { attempt, model, sample: name, ...pair, inputs: sample });
  return true;
}

/** Counts each answer once; inside a transaction. */
export function withLabels(
  { store }: AgentContext,
  counts: SoakCounts,
  { attempt, labels }: PayloadOf<"labels">,
): SoakCounts {
  let next = counts;
  for (const { sample, index } of labels) {
    const row = store.soakSample(attempt, sample);
    if (row === undefined || row.answered === 1) continue;
    store.answerSoakSample(attempt, sample);
    if (index === null) continue;
    next = {
      ...next,
      labelled: next.labelled + 1,
      worse: next.worse + (index === row.runningIndex ? 1 : 0),
      better: next.better + (index === row.freshIndex ? 1 : 0),
    };
  }
  return next;
}
