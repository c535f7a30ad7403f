/**
 * The update machine as one flat table: (state, event) → next state and the effect that enters it.
 *
 * Invariants: all rows that lead to a state carry the same effect, so the effect to repeat after a
 * power cut is read from this table and kept nowhere else. State names are stored: never renamed.
 */

export type UpdateState =
  | "idle"
  | "downloading"
  | "verifying"
  | "installing"
  | "trialing"
  | "switching"
  | "observing"
  | "committed"
  | "rolled-back"
  | "failed"
  | "refused"
  | "superseded"
  | "observed";

export type UpdateEvent =
  | "targeted"
  | "refused"
  | "downloaded"
  | "verified"
  | "installed"
  | "passed"
  | "worse"
  | "serving"
  | "controlled"
  | "observed"
  | "broken"
  | "withdrawn"
  | "exhausted";

/** What the executor does on entering a state. */
export type UpdateEffect =
  | "download"
  | "verify"
  | "install"
  | "trial"
  | "switch"
  | "observe"
  | "commit"
  | "discard"
  | "leave";

export interface Transition {
  readonly from: UpdateState;
  readonly on: UpdateEvent;
  readonly to: UpdateState;
  readonly effect: UpdateEffect;
}

const row = (
  from: UpdateState,
  on: UpdateEvent,
  to: UpdateState,
  effect: UpdateEffect,
): Transition => ({
  from,
  on,
  to,
  effect,
});

export const transitions: readonly Transition[] = [
  row("idle", "targeted", "downloading", "download"),
  // A bad signature, another audience or an older counter: nothing is written but the outcome.
  row("idle", "refused", "refused", "leave"),
  row("downloading", "downloaded", "verifying", "verify"),
  row("verifying", "verified", "installing", "install"),
  row("installing", "installed", "trialing", "trial"),
  row("trialing", "passed", "switching", "switch"),
  row("trialing", "worse", "rolled-back", "discard"),
  row("switching", "serving", "committed", "commit"),
  row("switching", "worse", "rolled-back", "discard"),
  // The spare slot was not touched yet: what it holds, the model before this one, stays.
  row("downloading", "broken", "failed", "leave"),
  row("verifying", "broken", "failed", "leave"),
  row("installing", "broken", "failed", "discard"),
  // A fault of our own parts in a trial says nothing about the model, yet the old one stays.
  row("trialing", "broken", "rolled-back", "discard"),
  row("switching", "broken", "rolled-back", "discard"),
  row("downloading", "withdrawn", "superseded", "leave"),
  row("verifying", "withdrawn", "superseded", "leave"),
  row("installing", "withdrawn", "superseded", "discard"),
  row("trialing", "withdrawn", "superseded", "discard"),
  // A control: the committed model against itself. No slot is touched, whatever comes of it.
  row("verifying", "controlled", "observing", "observe"),
  row("observing", "observed", "observed", "leave"),
  row("observing", "broken", "failed", "leave"),
  row("observing", "withdrawn", "superseded", "leave"),
  row("observing", "exhausted", "failed", "leave"),
  // The loop breaker ended a step that never returned.
  row("downloading", "exhausted", "failed", "leave"),
  row("verifying", "exhausted", "failed", "leave"),
  row("installing", "exhausted", "failed", "discard"),
  row("trialing", "exhausted", "rolled-back", "discard"),
  row("switching", "exhausted", "rolled-back", "discard"),
];

/** States whose step may kill or hang the process; each entry is counted before it begins. */
export const mayNotReturn: ReadonlySet<UpdateState> = new Set([
  "trialing",
  "switching",
  "observing",
]);

export const outcomes = [
  "committed",
  "rolled-back",
  "failed",
  "refused",
  "superseded",
  "observed",
] as const;
export type UpdateOutcome = (typeof outcomes)[number];

export function isOutcome(state: UpdateState): state is UpdateOutcome {
  return (outcomes as readonly string[]).includes(state);
}

/** What to do again when a device wakes up in a state: the effect of the rows that lead there. */
export const resumeEffects: ReadonlyMap<UpdateState, UpdateEffect> = new Map(
  transitions.filter(({ to }) => !isOutcome(to)).map(({ to, effect }) => [to, effect]),
);
