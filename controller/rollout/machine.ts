/** One step of a rollout, purely: (state, event) → (state, effects). */
import { z } from "zod";
import { type Stage, stageSchema } from "../../shared/api/stages.ts";
import { FleetError } from "../../shared/errors.ts";
import {
  type RolloutEffect,
  type RolloutEvent,
  type RolloutStatus,
  transitions,
} from "./transitions.ts";

export const rolloutStateSchema = z.object({
  stages: z.array(stageSchema).min(1).max(32),
  stage: z.int().min(0),
  stageStartedAtMs: z.int(),
  releaseCounter: z.int(),
});
export type RolloutState = z.infer<typeof rolloutStateSchema>;

export const defaultStages: readonly Stage[] = [
  { name: "canary", select: { by: "per-class", count: 1 } },
  { name: "fleet", select: { by: "all" } },
];

export interface RolloutStep {
  readonly status: RolloutStatus;
  readonly state: RolloutState;
  readonly effects: readonly RolloutEffect[];
}

/** Errors: `conflict` when the event does not fit the status. */
export function step(
  status: RolloutStatus,
  state: RolloutState,
  event: RolloutEvent,
  nowMs: number,
): RolloutStep {
  const row = transitions.find(({ from, on }) => from === status && on === event);
  if (row === undefined)
    throw new FleetError("conflict", `a rollout that is ${status} cannot take "${event}"`);
  const advances = row.effects.includes("offer-next-stage");
  const next = advances ? { ...state, stage: state.stage + 1, stageStartedAtMs: nowMs } : state;
  return { status: row.to, state: next, effects: row.effects };
}
