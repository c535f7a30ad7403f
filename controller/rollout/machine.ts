/** One step of a rollout, purely: (state, event) → (state, effects). */
import { z } from "zod";
import type { RolloutStatus } from "../../shared/api/routes/rollouts.ts";
import { stageSchema } from "../../shared/api/stages.ts";
import { FleetError } from "../../shared/errors.ts";
import { type RolloutEffect, type RolloutEvent, transitions } from "./transitions.ts";

/** What was found about a stage, when, and why; a stage that is found inconclusive has several. */
const stageRecordSchema = z.object({
  stage: z.int().min(0),
  event: z.string(),
  why: z.string(),
  startedAtMs: z.int(),
  atMs: z.int(),
});

/** What happens to devices that committed a release which turns out to do harm. */
export const onHarmSchema = z.enum(["roll-back", "stop"]);
export type OnHarm = z.infer<typeof onHarmSchema>;

const excludedStratumSchema = z.object({
  stratum: z.string(),
  why: z.string(),
  atMs: z.int(),
  /** The rollback that brings its devices what they ran before; null when there is nothing to bring back. */
  campaign: z.string().nullable(),
});
export type ExcludedStratum = z.infer<typeof excludedStratumSchema>;

export const rolloutStateSchema = z.object({
  stages: z.array(stageSchema).min(1).max(32),
  stage: z.int().min(0),
  stageStartedAtMs: z.int(),
  /** Of the order in which devices are taken; rollouts of older controllers have none. */
  seed: z.string().default(""),
  history: z.array(stageRecordSchema).default([]),
  /** Token name that started it, and those that approved. */
  startedBy: z.string().default("admin"),
  approvals: z.array(z.string()).default([]),
  approvalsNeeded: z.int().min(0).default(0),
  onHarm: onHarmSchema.default("stop"),
  /** Strata that alone proved harm and were taken back alone. */
  excluded: z.array(excludedStratumSchema).default([]),
  /** What its fleet can prove, in words; null for rollbacks and rollouts of older controllers. */
  power: z.string().nullable().default(null),
});
export type RolloutState = z.infer<typeof rolloutStateSchema>;

export interface RolloutStep {
  readonly status: RolloutStatus;
  readonly state: RolloutState;
  readonly effects: readonly RolloutEffect[];
}

/** Events that say something about the current stage. */
const stageEvents: ReadonlySet<RolloutEvent> = new Set([
  "stage-passed",
  "last-stage-passed",
  "stage-ready",
  "stage-inconclusive",
  "stage-failed",
  "promoted",
  "last-stage-promoted",
]);

/** Errors: `conflict` when the event does not fit the status. */
export function step(
  status: RolloutStatus,
  state: RolloutState,
  { event, why, nowMs }: { event: RolloutEvent; why: string; nowMs: number },
): RolloutStep {
  const row = transitions.find(({ from, on }) => from === status && on === event);
  if (row === undefined)
    throw new FleetError("conflict", `a rollout that is ${status} cannot take "${event}"`);
  const { stage, stageStartedAtMs: startedAtMs } = state;
  const history = stageEvents.has(event)
    ? [...state.history, { stage, event, why, startedAtMs, atMs: nowMs }]
    : state.history;
  const begins = row.effects.some((effect) => effect === "first-stage" || effect === "next-stage");
  return {
    status: row.to,
    state: {
      ...state,
      history,
      stage: row.effects.includes("next-stage") ? stage + 1 : stage,
      stageStartedAtMs: begins ? nowMs : startedAtMs,
    },
    effects: row.effects,
  };
}

/** Events "stage-passed" and "promoted" have another name where no stage follows. */
export function endingStage(
  { stage, stages }: Pick<RolloutState, "stage" | "stages">,
  how: "passed" | "promoted",
): RolloutEvent {
  const last = stage >= stages.length - 1;
  if (how === "passed") return last ? "last-stage-passed" : "stage-passed";
  return last ? "last-stage-promoted" : "promoted";
}
