/**
 * Carries one attempt from its first state to its outcome: stores each state before its effect, turns
 * what the effect brings into the next event.
 *
 * Invariants: the outcome, the slot pointer and the report are one transaction; after `switching`
 * began nothing but its own result ends it; errors of our own code are not swallowed.
 */
import type { Manifest } from "../../shared/artifact/manifest.ts";
import type { GateResult } from "../../shared/protocol/messages/attempt-outcome.ts";
import type { AgentContext } from "../context.ts";
import type { Messenger } from "../messenger.ts";
import type { Candidate, Serving } from "../serving/serving.ts";
import type { Soaks } from "../soak/soaks.ts";
import type { AttemptRow, SlotName } from "../state/store.ts";
import type { ArtifactSource } from "../transfer/artifact-source.ts";
import { readProof } from "../trial/proof.ts";
import { runTrial } from "../trial/trial.ts";
import type { TrialVerdict } from "../trial/verdict.ts";
import { worldError } from "../world-error.ts";
import { expired } from "./admission.ts";
import { controlledSlot } from "./control.ts";
import { fetchAll, fetchProofs } from "./fetch.ts";
import type { Holds } from "./holds.ts";
import { discardSlot, installIntoSlot, storedBundle } from "./install.ts";
import { allows, resume, type Step, step, type UpdateProgress } from "./machine.ts";
import { type Ending, outcomeOf, passedEnding } from "./outcome.ts";
import { heldBack, type Waiting } from "./permission.ts";
import {
  isOutcome,
  patient,
  type UpdateEffect,
  type UpdateEvent,
  type UpdateOutcome,
} from "./transitions.ts";
import type { WaitingRoom } from "./waiting-room.ts";

export interface UpdateParts {
  readonly context: AgentContext;
  readonly messenger: Messenger;
  readonly serving: Serving;
  readonly source: ArtifactSource;
  readonly soaks: Soaks;
  readonly holds: Holds;
  readonly waitingRoom: WaitingRoom;
  /** Called with each stored state, each tenth of a download and each reason to wait. */
  readonly onProgress: (
    attempt: string,
    state: string,
    fraction: number,
    waiting?: Waiting,
  ) => void;
}

/** `withdrawn` ends the attempt; `stopping` only leaves it, to be resumed after the next start. */
export interface UpdateSignals {
  readonly withdrawn: AbortSignal;
  readonly stopping: AbortSignal;
}

interface Run {
  readonly row: AttemptRow;
  readonly manifest: Manifest;
  readonly signals: UpdateSignals;
  progress: UpdateProgress;
  gates: readonly GateResult[];
  ending: Ending;
  candidate: Candidate | undefined;
}

/** An attempt that stays open until its reason to wait is gone. */
export interface Parked {
  readonly state: string;
  readonly waiting: Waiting;
}

/**
 * Runs an open attempt to its end, or until it must wait. Rejects when it cannot go on now, with the attempt still open: a
 * failure of the database, or the reason of `stopping`.
 */
export async function runAttempt(
  parts: UpdateParts,
  row: AttemptRow,
  manifest: Manifest,
  signals: UpdateSignals,
): Promise<Parked | undefined> {
  const run: Run = {
    row,
    manifest,
    signals,
    progress: {
      state: row.state as UpdateProgress["state"],
      resumes: row.resumes,
      steps: row.steps,
    },
    gates: row.gates,
    ending: { code: "interrupted", why: "the device restarted during this step too often" },
    candidate: undefined,
  };
  try {
    return await runSteps(parts, run);
  } catch (error) {
    await run.candidate?.discard();
    throw error;
  }
}

async function runSteps(parts: UpdateParts, run: Run): Promise<Parked | undefined> {
  const { row } = run;
  let next: Step =
    run.progress.state === "idle" ? step(run.progress, "targeted") : resume(run.progress);
  for (;;) {
    run.progress = next.progress;
    if (isOutcome(next.progress.state)) {
      await conclude(parts, run, { outcome: next.progress.state, effect: next.effect });
      return undefined;
    }
    const { state } = run.progress;
    // An attempt that waits is looked at again and again: only a change is worth a write.
    if (!patient.has(state) || state !== row.state) {
      parts.context.store.saveAttempt({ id: row.id, ...run.progress, gates: run.gates });
    }
    if (!patient.has(state)) parts.onProgress(row.id, state, 0);
    const event = await eventOf(parts, run, next);
    if (typeof event !== "string") return { state, waiting: event };
    next = step(run.progress, event);
  }
}

async function eventOf(parts: UpdateParts, run: Run, next: Step): Promise<UpdateEvent | Waiting> {
  const { signals } = run;
  const withdrawn = () => signals.withdrawn.aborted && allows(run.progress, "withdrawn");
  try {
    if (withdrawn()) return withdraw(run);
    const event = await unlessStopped(signals.stopping, perform(parts, run, next));
    // A verdict that was reached counts, also when nobody waits for it any more.
    const isVerdict = event === "worse" || event === "observed";
    return !isVerdict && withdrawn() ? withdraw(run) : event;
  } catch (error) {
    if (signals.stopping.aborted) throw error;
    if (withdrawn()) return withdraw(run);
    const known = worldError(error);
    if (known === undefined) throw error;
    run.ending = { code: known.code, why: known.message };
    return "broken";
  }
}

/** A stop does not wait for a trial; what goes on behind it ends with its child processes. */
export function unlessStopped<T>(stopping: AbortSignal, work: Promise<T>): Promise<T> {
  const stopped = new Promise<never>((_resolve, reject) => {
    const stop = () => reject(stopping.reason);
    if (stopping.aborted) stop();
    stopping.addEventListener("abort", stop, { once: true });
    const release = () => stopping.removeEventListener("abort", stop);
    work.then(release, release);
  });
  return Promise.race([work, stopped]);
}

function withdraw(run: Run): UpdateEvent {
  run.ending = { code: "withdrawn", why: "the controller no longer wants this attempt" };
  return "withdrawn";
}

async function perform(parts: UpdateParts, run: Run, next: Step): Promise<UpdateEvent | Waiting> {
  const { context } = parts;
  const { manifest } = run;
  const slot = context.store.spareSlot(manifest.model);
  const isControl = manifest.purpose === "control";
  switch (next.effect) {
    case "download":
      await download(parts, run);
      return "downloaded";
    case "verify":
      if (isControl) controlledSlot(context.store, manifest);
      else await storedBundle(context, manifest);
      return "verified";
    case "await-permission": {
      const waiting = await parts.waitingRoom.judge(run.row.id, manifest.install);
      if (waiting !== undefined) return waiting;
      const late = expired(context, manifest);
      if (late === undefined) return isControl ? "controlled" : "permitted";
      run.ending = { code: late.code, why: late.message };
      return "refused";
    }
    case "install":
      parts.soaks.end(manifest.model, "another update is installed into its spare slot");
      await installIntoSlot(context, manifest, slot);
      return "installed";
    case "trial": {
      const verdict = await tryModel(parts, run, slot);
      run.gates = verdict.gates;
      if (verdict.failed === undefined) return heldBack(parts.holds.reason()) ? "held" : "passed";
      run.ending = { code: verdict.failed.gate, why: verdict.failed.why };
      return "worse";
    }
    case "observe": {
      const verdict = await tryModel(parts, run, controlledSlot(context.store, manifest));
      run.gates = verdict.gates;
      const { failed } = verdict;
      run.ending = failed ? { code: failed.gate, why: failed.why } : passedEnding(run.gates);
      return "observed";
    }
    case "await-release":
      return heldBack(parts.holds.reason()) ?? "released";
    case "switch":
      return switchOver(parts, run, slot);
    case "commit":
    case "discard":
    case "leave":
      throw new Error(`effect ${next.effect} belongs to an outcome`);
  }
}

function tryModel({ context }: UpdateParts, run: Run, slot: SlotName): Promise<TrialVerdict> {
  const { withdrawn, stopping } = run.signals;
  const signal = AbortSignal.any([withdrawn, stopping]);
  return runTrial(context, { attempt: run.row.id, manifest: run.manifest, slot, signal });
}

async function download({ context, source, onProgress }: UpdateParts, run: Run): Promise<void> {
  const { manifest, signals } = run;
  const signal = AbortSignal.any([signals.withdrawn, signals.stopping]);
  if (manifest.purpose === "control") return fetchProofs(source, manifest, signal);
  await fetchAll(context, source, {
    manifest,
    signal,
    onProgress: (fraction) => onProgress(run.row.id, run.progress.state, fraction),
  });
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

async function conclude(
  parts: UpdateParts,
  run: Run,
  { outcome, effect }: { outcome: UpdateOutcome; effect: UpdateEffect },
): Promise<void> {
  const { context, messenger, serving } = parts;
  const { store } = context;
  const { manifest, row } = run;
  const commits = effect === "commit";
  const slot = store.spareSlot(manifest.model);
  const servingSha256 = commits ? manifest.bundle.sha256 : serving.servedSha256(manifest.model);
  if (!commits) await run.candidate?.discard();
  if (effect === "discard") await discardSlot(context, manifest.model, slot);
  const watches = commits || outcome === "observed";
  if (watches) parts.soaks.end(manifest.model, "another attempt is watched from now on");
  store.transaction(() => {
    if (watches) parts.soaks.open(row.id, manifest, run.gates);
    if (commits) store.commitSlot(manifest.model, slot);
    const result = outcomeOf({
      attempt: row.id,
      model: manifest.model,
      document: { signed: manifest },
      outcome,
      ending: commits ? passedEnding(run.gates) : run.ending,
      gates: run.gates,
      servingSha256,
      emulated: context.emulated,
    });
    store.concludeAttempt(result);
    messenger.enqueue("attempt-outcome", result);
  });
  if (commits) await run.candidate?.promote();
  if (watches) parts.soaks.opened(manifest.model);
  parts.onProgress(row.id, outcome, 1);
  messenger.flush();
}
