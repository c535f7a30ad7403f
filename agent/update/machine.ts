/**
 * One step of an update, purely: state and event in, state and effect out. The executor stores the
 * state before it performs the effect.
 */
import { assert } from "../../shared/assert.ts";
import {
  isOutcome,
  mayNotReturn,
  patient,
  resumeEffects,
  transitions,
  type UpdateEffect,
  type UpdateEvent,
  type UpdateState,
} from "./transitions.ts";

export interface UpdateProgress {
  readonly state: UpdateState;
  /** Times that a step which may not return was begun again after a restart. */
  readonly resumes: number;
  /** States stored for this attempt but the patient ones; a loop of any kind ends at `stepsMax`. */
  readonly steps: number;
}

/** Three tries of a step that kills the process are enough to believe it. */
export const resumesMax = 3;
/** mender-client's bound on stored states of one update (context.hpp, 28). */
export const stepsMax = 28;

export interface Step {
  readonly progress: UpdateProgress;
  readonly effect: UpdateEffect;
}

/** Throws on an event that the table does not allow: that is our bug. */
export function step(progress: UpdateProgress, event: UpdateEvent): Step {
  const found = transitions.find(({ from, on }) => from === progress.state && on === event);
  assert(found !== undefined, `update: ${event} in state ${progress.state}`);
  const next = {
    ...progress,
    state: found.to,
    steps: progress.steps + (patient.has(found.to) ? 0 : 1),
  };
  if (next.steps > stepsMax && !isOutcome(found.to)) {
    return step({ ...progress, state: found.to, steps: 0 }, "exhausted");
  }
  return { progress: next, effect: found.effect };
}

/** True when `event` is allowed now. */
export function allows(progress: UpdateProgress, event: UpdateEvent): boolean {
  return transitions.some(({ from, on }) => from === progress.state && on === event);
}

/** What to do after a restart in the middle of an update. */
export function resume(progress: UpdateProgress): Step {
  const effect = resumeEffects.get(progress.state);
  assert(effect !== undefined, `update: nothing to resume in state ${progress.state}`);
  // However often a device restarts while it waits, it goes on waiting.
  if (patient.has(progress.state)) return { progress, effect };
  const steps = progress.steps + 1;
  const resumes = progress.resumes + (mayNotReturn.has(progress.state) ? 1 : 0);
  if (resumes > resumesMax || steps > stepsMax) return step(progress, "exhausted");
  return { progress: { state: progress.state, resumes, steps }, effect };
}
