/**
 * Carries one attempt from its first state to its outcome: stores each state before its effect, turns
 * what the effect brings into the next event.
 *
 * Invariants: the outcome, the slot pointer and the report are one transaction; after `switching`
 * began nothing but its own result ends it; errors of our own code are not swallowed.
 */
import type { Manifest } from "../../shared/artifact/manifest.ts";
import { FleetError, isFleetError } from "../../shared/errors.ts";
import type { GateResult } from "../../shared/protocol/messages/attempt-outcome.ts";
import type { AgentContext } from "../context.ts";
import type { Messenger } from "../messenger.ts";
import type { Candidate, Serving } from "../serving/serving.ts";
import type { AttemptRow } from "../state/store.ts";
import type { ArtifactSource } from "../transfer/artifact-source.ts";
import { readProof, runTrial } from "../trial/trial.ts";
import { fetchAll } from "./fetch.ts";
import { discardSlot, installIntoSlot, storedBundle } from "./install.ts";
import { allows, resume, type Step, step, type UpdateProgress } from "./machine.ts";
import { committedEnding, type Ending, outcomeOf } from "./outcome.ts";
import { isOutcome, type UpdateEvent, type UpdateOutcome } from "./transitions.ts";

export interface UpdateParts {
  readonly context: AgentContext;
  readonly messenger: Messenger;
  readonly serving: Serving;
  readonly source: ArtifactSource;
  /** Called with each stored state and each tenth of a download. */
  readonly onProgress: (attempt: string, state: string, fraction: number) => void;
}

interface Run {
  readonly row: AttemptRow;
  readonly manifest: Manifest;
  readonly signal: AbortSignal;
  progress: UpdateProgress;
  gates: readonly GateResult[];
  ending: Ending;
  candidate: Candidate | undefined;
}

/** Runs an open attempt to its end; `signal` withdraws it. */
export async function runAttempt(
  parts: UpdateParts,
  row: AttemptRow,
  manifest: Manifest,
  signal: AbortSignal,
): Promise<void> {
  const run: Run = {
    row,
    manifest,
    signal,
    progress: {
      state: row.state as UpdateProgress["state"],
      resumes: row.resumes,
      steps: row.steps,
    },
    gates: row.gates,
    ending: { code: "interrupted", why: "the device restarted during this step too often" },
    candidate: undefined,
  };
  let next: Step =
    run.progress.state === "idle" ? step(run.progress, "targeted") : resume(run.progress);
  for (;;) {
    run.progress = next.progress;
    if (isOutcome(next.progress.state)) {
      await conclude(parts, run, next.progress.state);
      return;
    }
    parts.context.store.saveAttempt({ id: row.id, ...run.progress, gates: run.gates });
    parts.onProgress(row.id, run.progress.state, 0);
    next = step(run.progress, await eventOf(parts, run, next));
  }
}

async function eventOf(parts: UpdateParts, run: Run, next: Step): Promise<UpdateEvent> {
  const withdrawn = () => run.signal.aborted && allows(run.progress, "withdrawn");
  try {
    if (withdrawn()) return withdraw(run);
    const event = await perform(parts, run, next);
    // A verdict that was reached counts, also when nobody waits for it any more.
    return event !== "worse" && withdrawn() ? withdraw(run) : event;
  } catch (error) {
    if (withdrawn()) return withdraw(run);
    if (!isFleetError(error) && !isSystemError(error)) throw error;
    run.ending = endingOf(error);
    return "broken";
  }
}

function withdraw(run: Run): UpdateEvent {
  run.ending = { code: "withdrawn", why: "the controller no longer wants this attempt" };
  return "withdrawn";
}

async function perform(parts: UpdateParts, run: Run, next: Step): Promise<UpdateEvent> {
  const { context } = parts;
  const { manifest } = run;
  const slot = context.store.spareSlot(manifest.model);
  switch (next.effect) {
    case "download":
      await fetchAll(context, parts.source, {
        manifest,
        signal: run.signal,
        onProgress: (fraction) => parts.onProgress(run.row.id, run.progress.state, fraction),
      });
      return "downloaded";
    case "verify":
      await storedBundle(context, manifest);
      return "verified";
    case "install":
      await installIntoSlot(context, manifest, slot);
      return "installed";
    case "trial": {
      const verdict = await runTrial(context, manifest, slot);
      run.gates = verdict.gates;
      if (verdict.failed === undefined) return "passed";
      run.ending = { code: verdict.failed.gate, why: verdict.failed.why };
      return "worse";
    }
    case "switch":
      return switchOver(parts, run, slot);
    case "commit":
    case "discard":
    case "refuse":
      throw new Error(`effect ${next.effect} belongs to an outcome`);
  }
}

/** Starts a serving runner on the candidate and asks it one real sample, as a client would. */
async function switchOver(parts: UpdateParts, run: Run, slot: "a" | "b"): Promise<UpdateEvent> {
  const { context, serving } = parts;
  const { manifest } = run;
  run.candidate = await serving.prepare(manifest.model, slot, manifest.bundle.sha256);
  const proof = await readProof(context, manifest);
  if (proof === undefined) return "serving";
  const sample = Object.fromEntries(
    Object.entries(proof.shard.inputs).map(([name, { data, count }]) => [
      name,
      data.subarray(0, data.byteLength / count),
    ]),
  );
  const answer = await run.candidate.infer(sample);
  if (answer.kind === "classification" && answer.index < 0) {
    run.ending = { code: "serving", why: "the serving process answers without a finite score" };
    return "worse";
  }
  return "serving";
}

async function conclude(parts: UpdateParts, run: Run, outcome: UpdateOutcome): Promise<void> {
  const { context, messenger, serving } = parts;
  const { store } = context;
  const { manifest, row } = run;
  const commits = outcome === "committed";
  const slot = store.spareSlot(manifest.model);
  const servingSha256 = commits ? manifest.bundle.sha256 : serving.servedSha256(manifest.model);
  if (!commits) {
    await run.candidate?.discard();
    await discardSlot(context, manifest.model, slot);
  }
  store.transaction(() => {
    if (commits) store.commitSlot(manifest.model, slot);
    const result = outcomeOf({
      attempt: row.id,
      model: manifest.model,
      document: { signed: manifest },
      outcome,
      ending: commits ? committedEnding(run.gates) : run.ending,
      gates: run.gates,
      servingSha256,
      emulated: context.emulated,
    });
    store.concludeAttempt(result);
    messenger.enqueue("attempt-outcome", result);
  });
  if (commits) await run.candidate?.promote();
  parts.onProgress(row.id, outcome, 1);
  messenger.flush();
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "code" in error && typeof error.code === "string";
}

function endingOf(error: unknown): Ending {
  if (isSystemError(error) && error.code === "ENOSPC") {
    const full = new FleetError("disk-full", "the disk filled up during the update", {
      cause: error,
    });
    return { code: full.code, why: full.message };
  }
  if (isFleetError(error)) return { code: error.code, why: error.message };
  return { code: "internal", why: String(error) };
}
