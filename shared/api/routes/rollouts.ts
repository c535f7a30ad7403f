/** Rollouts and the attempts of single devices. */
import { z } from "zod";
import { sha256Schema } from "../../artifact/hash.ts";
import { modelNameSchema, nameSchema } from "../../artifact/names.ts";
import { gateResultSchema } from "../../protocol/messages/attempt-outcome.ts";
import { defineRoute } from "../route.ts";
import { stageSchema } from "../stages.ts";

export const attemptSchema = z
  .object({
    id: z.string(),
    rollout: z.string(),
    device: z.string(),
    model: z.string(),
    version: z.string(),
    recipe: z.string(),
    /** Place of its stage in the rollout, from 0. */
    stage: z.int(),
    arm: z.string(),
    bundleSha256: sha256Schema,
    releaseCounter: z.int(),
    status: z.enum(["waiting", "offered", "decided"]),
    outcome: z.string().nullable(),
    /** Error code or gate that decided. */
    code: z.string().nullable(),
    why: z.string().nullable(),
    gates: z.array(gateResultSchema),
    servingSha256: z.string().nullable(),
    createdAtMs: z.int(),
    decidedAtMs: z.int().nullable(),
  })
  .meta({ id: "Attempt" });

export const rolloutSchema = z
  .object({
    id: z.string(),
    model: z.string(),
    version: z.string(),
    status: z.enum(["running", "paused", "stopped", "completed", "aborted"]),
    /** Why it stopped or was steered, in words. */
    reason: z.string().nullable(),
    stage: z.int(),
    stages: z.array(stageSchema),
    releaseCounter: z.int(),
    createdAtMs: z.int(),
    attempts: z.array(attemptSchema),
  })
  .meta({ id: "Rollout" });
export type RolloutAnswer = z.infer<typeof rolloutSchema>;

const rolloutParams = z.object({ rollout: nameSchema });
const steering = z.object({ reason: z.string().max(500).default("by the operator") });

export const rolloutRoutes = {
  startRollout: defineRoute({
    method: "POST",
    path: "/v1/rollouts",
    summary: "Brings a version to devices stage by stage; canaries first unless stages are given.",
    tag: "rollouts",
    body: z.object({
      model: modelNameSchema,
      version: nameSchema,
      stages: z.array(stageSchema).min(1).max(32).optional(),
    }),
    answer: rolloutSchema,
    status: 201,
    errors: ["not-found", "conflict"],
  }),
  listRollouts: defineRoute({
    method: "GET",
    path: "/v1/rollouts",
    summary: "All rollouts without their attempts, newest first.",
    tag: "rollouts",
    answer: z.object({ rollouts: z.array(rolloutSchema.omit({ attempts: true })) }),
  }),
  getRollout: defineRoute({
    method: "GET",
    path: "/v1/rollouts/{rollout}",
    summary: "One rollout with every attempt.",
    tag: "rollouts",
    params: rolloutParams,
    answer: rolloutSchema,
    errors: ["not-found"],
  }),
  pauseRollout: defineRoute({
    method: "POST",
    path: "/v1/rollouts/{rollout}/pause",
    summary: "Offers nothing more until it is resumed; updates under way go on.",
    tag: "rollouts",
    params: rolloutParams,
    body: steering,
    answer: rolloutSchema,
    errors: ["not-found", "conflict"],
  }),
  resumeRollout: defineRoute({
    method: "POST",
    path: "/v1/rollouts/{rollout}/resume",
    summary: "Lets a paused rollout go on.",
    tag: "rollouts",
    params: rolloutParams,
    body: steering,
    answer: rolloutSchema,
    errors: ["not-found", "conflict"],
  }),
  abortRollout: defineRoute({
    method: "POST",
    path: "/v1/rollouts/{rollout}/abort",
    summary: "Ends a rollout; devices that committed keep what they run.",
    tag: "rollouts",
    params: rolloutParams,
    body: steering,
    answer: rolloutSchema,
    errors: ["not-found", "conflict"],
  }),
};
