/** One step of a rollout, purely: (state, event) → (state, effects). */
import { z } from "zod";
import { nameSchema } from "../../shared/artifact/names.ts";
import { FleetError } from "../../shared/errors.ts";
import {
  type RolloutEffect,
  type RolloutEvent,
  type RolloutStatus,
  transitions,
} from "./transitions.ts";

/** Which devices a stage adds; those of earlier stages are left out. */
export const stageSelectorSchema = z.discriminatedUnion("by", [
  z.object({ by: z.literal("per-class"), count: z.int().min(1) }),
  z.object({ by: z.literal("count"), count: z.int().min(1) }),
  z.object({ by: z.literal("percent"), percent: z.number().min(0).max(100) }),
  z.object({ by: z.literal("regions"), regions: z.array(nameSchema).min(1) }),
  z.object({ by: z.literal("classes"), classes: z.array(nameSchema).min(1) }),
  z.object({ by: z.literal("devices"), devices: z.array(nameSchema).min(1) }),
  z.object({ by: z.literal("all") }),
]);
export type StageSelector = z.infer<typeof stageSelectorSchema>;

export const stageSchema = z.object({ name: nameSchema, select: stageSelectorSchema });
export type Stage = z.infer<typeof stageSchema>;

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
