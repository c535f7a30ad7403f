/**
 * The rollout machine as one flat table: (status, event) → next status and effects. Stored names are
 * never changed. Effects are rows in the same transaction, performed after it.
 */

export type RolloutStatus = "running" | "paused" | "stopped" | "completed" | "aborted";
export type RolloutEvent =
  | "stage-passed"
  | "last-stage-passed"
  | "stage-failed"
  | "pause"
  | "resume"
  | "abort";
export type RolloutEffect = "offer-next-stage" | "withdraw-open";

export interface Transition {
  readonly from: RolloutStatus;
  readonly on: RolloutEvent;
  readonly to: RolloutStatus;
  readonly effects: readonly RolloutEffect[];
}

export const transitions: readonly Transition[] = [
  { from: "running", on: "stage-passed", to: "running", effects: ["offer-next-stage"] },
  { from: "running", on: "last-stage-passed", to: "completed", effects: [] },
  { from: "running", on: "stage-failed", to: "stopped", effects: ["withdraw-open"] },
  // What is under way on devices goes on while paused; only no further stage begins.
  { from: "running", on: "pause", to: "paused", effects: [] },
  { from: "paused", on: "resume", to: "running", effects: [] },
  { from: "paused", on: "stage-failed", to: "stopped", effects: ["withdraw-open"] },
  { from: "running", on: "abort", to: "aborted", effects: ["withdraw-open"] },
  { from: "paused", on: "abort", to: "aborted", effects: ["withdraw-open"] },
];
