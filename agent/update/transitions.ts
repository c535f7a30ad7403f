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
  | "waiting"
  | "installing"
  | "trialing"
  | "holding"
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
  | "permitted"
  | "installed"
  | "passed"
  | "held"
  | "released"
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
  | "await-permission"
  | "install"
  | "trial"
  | "await-release"
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
  row("verifying", "verified", "waiting", "await-permission"),
  // No hold, an open window, enough power.
  row("waiting", "permitted", "installing", "install"),
  row("installing", "installed", "trialing", "trial"),
  row("trialing", "passed", "switching", "switch"),
  row("trialing", "worse", "rolled-back", "discard"),
  // A hold that came during the trial still keeps the candidate from serving.
  row("trialing", "held", "holding", "await-release"),
  row("holding", "released", "switching", "switch"),
  row("switching", "serving", "committed", "commit"),
  row("switching", "worse", "rolled-back", "discard"),
  // The spare slot was not touched yet: what it holds, the model before this one, stays.
  row("downloading", "broken", "failed", "leave"),
  row("verifying", "broken", "failed", "leave"),
  row("waiting", "broken", "failed", "leave"),
  // It waited longer than its manifest is valid.
  row("waiting", "refused", "refused", "leave"),
  row("installing", "broken", "failed", "discard"),
  // A fault of our own parts in a trial says nothing about the model, yet the old one stays.
  row("trialing", "broken", "rolled-back", "discard"),
  row("holding", "broken", "rolled-back", "discard"),
  row("switching", "broken", "rolled-back", "discard"),
  row("downloading", "withdrawn", "superseded", "leave"),
  row("verifying", "withdrawn", "superseded", "leave"),
  row("waiting", "withdrawn", "superseded", "leave"),
  row("installing", "withdrawn", "superseded", "discard"),
  row("trialing", "withdrawn", "superseded", "discard"),
  row("holding", "withdrawn", "superseded", "discard"),
  // A control: the committed model against itself. No slot is touched, whatever comes of it. It waits as
  // the installs do that it is compared with.
  row("waiting", "controlled", "observing", "observe"),
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

/** States that last as long as somebody or something else wants; no count ends them. */
export const patient: ReadonlySet<UpdateState> = new Set(["waiting", "holding"]);

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
