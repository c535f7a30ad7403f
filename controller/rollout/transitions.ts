/**
 * The rollout machine as one flat table: (status, event) → next status and effects. Stored names are
 * never changed. Effects are rows in the same transaction, performed after it.
 */

import type { RolloutStatus } from "../../shared/api/routes/rollouts.ts";

export type RolloutEvent =
  | "approved"
  | "continued"
  | "stage-passed"
  | "last-stage-passed"
  | "stage-ready"
  | "stage-inconclusive"
  | "stage-failed"
  | "promoted"
  | "last-stage-promoted"
  | "overtaken"
  | "pause"
  | "resume"
  | "abort"
  | "roll-back";

/** `first-stage` and `next-stage` select and offer, `offer` goes on with what is selected. */
export type RolloutEffect = "first-stage" | "next-stage" | "offer" | "withdraw-open";

export interface Transition {
  readonly from: RolloutStatus;
  readonly on: RolloutEvent;
  readonly to: RolloutStatus;
  readonly effects: readonly RolloutEffect[];
}

const row = (
  from: RolloutStatus,
  on: RolloutEvent,
  to: RolloutStatus,
  ...effects: RolloutEffect[]
): Transition => ({ from, on, to, effects });

export const transitions: readonly Transition[] = [
  row("awaiting-approval", "approved", "running", "first-stage"),
  row("awaiting-approval", "abort", "aborted"),

  row("running", "continued", "running", "offer"),
  row("running", "stage-passed", "running", "next-stage"),
  row("running", "last-stage-passed", "completed"),
  row("running", "stage-ready", "awaiting-promotion"),
  row("running", "stage-inconclusive", "awaiting-promotion"),
  row("running", "stage-failed", "stopped", "withdraw-open"),
  row("running", "overtaken", "superseded", "withdraw-open"),
  // What is under way on devices goes on while paused; nothing more is offered.
  row("running", "pause", "paused"),
  row("running", "abort", "aborted", "withdraw-open"),
  row("running", "roll-back", "rolled-back", "withdraw-open"),

  row("paused", "resume", "running", "offer"),
  row("paused", "stage-failed", "stopped", "withdraw-open"),
  row("paused", "overtaken", "superseded", "withdraw-open"),
  row("paused", "abort", "aborted", "withdraw-open"),
  row("paused", "roll-back", "rolled-back", "withdraw-open"),

  // Members that come late are still offered; what they answer may settle the stage by itself.
  row("awaiting-promotion", "continued", "awaiting-promotion", "offer"),
  row("awaiting-promotion", "promoted", "running", "next-stage"),
  row("awaiting-promotion", "last-stage-promoted", "completed"),
  row("awaiting-promotion", "stage-passed", "running", "next-stage"),
  row("awaiting-promotion", "last-stage-passed", "completed"),
  row("awaiting-promotion", "stage-failed", "stopped", "withdraw-open"),
  row("awaiting-promotion", "overtaken", "superseded", "withdraw-open"),
  row("awaiting-promotion", "abort", "aborted", "withdraw-open"),
  row("awaiting-promotion", "roll-back", "rolled-back", "withdraw-open"),

  // A completed rollout is what new devices get, under the same rules.
  row("completed", "continued", "completed", "offer"),
  row("completed", "stage-failed", "stopped", "withdraw-open"),
  row("completed", "roll-back", "rolled-back", "withdraw-open"),
  row("stopped", "roll-back", "rolled-back"),
  row("aborted", "roll-back", "rolled-back"),
  row("superseded", "roll-back", "rolled-back"),
];

/** Statuses in which a rollout has not ended. */
export const liveStatuses: readonly RolloutStatus[] = transitions
  .filter(({ on }) => on === "abort")
  .map(({ from }) => from);

/** Statuses in which offers go on. */
export const offeringStatuses: readonly RolloutStatus[] = transitions
  .filter(({ on }) => on === "continued")
  .map(({ from }) => from);
