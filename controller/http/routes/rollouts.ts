/** Rollouts and what is watched while they run. */
import { z } from "zod";
import { nameSchema } from "../../../shared/artifact/names.ts";
import { stageSchema } from "../../rollout/machine.ts";
import { listRollouts, showRollout, startRollout, steerRollout } from "../../rollout/service.ts";
import { listEvents } from "../../storage/events/repository.ts";
import { deviceSummaries, regionSummaries } from "../../telemetry/summary.ts";
import { type AnyRoute, defineRoute } from "./route.ts";

export const attemptSchema = z
  .object({
    id: z.string(),
    rollout: z.string(),
    device: z.string(),
    model: z.string(),
    version: z.string(),
    recipe: z.string(),
    stage: z.number(),
    arm: z.string(),
    bundleSha256: z.string(),
    releaseCounter: z.number(),
    status: z.string(),
    outcome: z.string().nullable(),
    code: z.string().nullable(),
    why: z.string().nullable(),
    servingSha256: z.string().nullable(),
    createdAtMs: z.number(),
    decidedAtMs: z.number().nullable(),
    gates: z.unknown(),
  })
  .meta({ id: "Attempt" });
const rolloutSchema = z
  .object({
    id: z.string(),
    model: z.string(),
    version: z.string(),
    status: z.string(),
    reason: z.string().nullable(),
    stage: z.number(),
    stages: z.array(stageSchema),
    releaseCounter: z.number(),
    createdAtMs: z.number(),
    attempts: z.array(attemptSchema),
  })
  .meta({ id: "Rollout" });
const byId = z.object({ id: nameSchema });
const windowQuery = z.object({ model: nameSchema, sinceMs: z.coerce.number().optional() });
const summary = {
  inferences: z.number(),
  errorFraction: z.number().nullable(),
  latencyP50Ms: z.number().nullable(),
  latencyP90Ms: z.number().nullable(),
  bundles: z.array(z.string()),
};

const steer = (event: "pause" | "resume" | "abort", what: string) =>
  defineRoute({
    method: "POST",
    path: `/v1/rollouts/:id/${event}`,
    summary: what,
    tag: "rollouts",
    params: byId,
    body: z.object({ reason: z.string().min(1).max(500).default("by an operator") }),
    answer: rolloutSchema,
    handle: ({ ctx }, { params, body }) => steerRollout(ctx, params.id, event, body.reason),
  });

export const rolloutRoutes: readonly AnyRoute[] = [
  defineRoute({
    method: "POST",
    path: "/v1/rollouts",
    summary: "Roll a version out, stage by stage",
    tag: "rollouts",
    body: z.object({
      model: nameSchema,
      version: nameSchema,
      stages: z.array(stageSchema).min(1).max(32).optional(),
    }),
    answer: rolloutSchema,
    handle: ({ ctx }, { body }) => startRollout(ctx, body),
  }),
  defineRoute({
    method: "GET",
    path: "/v1/rollouts",
    summary: "All rollouts, newest first, without their attempts",
    tag: "rollouts",
    answer: z.object({ rollouts: z.array(rolloutSchema) }),
    handle: async ({ ctx }) => ({ rollouts: await listRollouts(ctx) }),
  }),
  defineRoute({
    method: "GET",
    path: "/v1/rollouts/:id",
    summary: "One rollout with every attempt",
    tag: "rollouts",
    params: byId,
    answer: rolloutSchema,
    handle: ({ ctx }, { params }) => showRollout(ctx, params.id),
  }),
  steer("pause", "No further stage begins until it is resumed"),
  steer("resume", "Go on with a paused rollout"),
  steer("abort", "Withdraw what is open and end the rollout"),
  defineRoute({
    method: "GET",
    path: "/v1/telemetry/regions",
    summary: "Latency and errors per region",
    tag: "telemetry",
    query: windowQuery,
    answer: z.object({
      regions: z.array(z.object({ region: z.string(), devices: z.number(), ...summary })),
    }),
    handle: async ({ ctx }, { query }) => ({ regions: await regionSummaries(ctx, query) }),
  }),
  defineRoute({
    method: "GET",
    path: "/v1/telemetry/devices",
    summary: "Latency and errors per device",
    tag: "telemetry",
    query: windowQuery,
    answer: z.object({ devices: z.array(z.object({ device: z.string(), ...summary })) }),
    handle: async ({ ctx }, { query }) => ({ devices: await deviceSummaries(ctx, query) }),
  }),
  defineRoute({
    method: "GET",
    path: "/v1/events",
    summary: "What happened and why, newest first",
    tag: "events",
    query: z.object({
      subject: z.string().max(256).optional(),
      limit: z.coerce.number().int().min(1).max(1_000).default(100),
    }),
    answer: z.object({ events: z.array(z.record(z.string(), z.unknown())) }),
    handle: async ({ ctx }, { query }) => ({ events: await listEvents(ctx.db, query) }),
  }),
  defineRoute({
    method: "GET",
    path: "/v1/status",
    summary: "Where this controller listens and what it holds",
    tag: "status",
    answer: z.object({ tenant: z.string(), mqttUrl: z.string(), devices: z.number() }),
    handle: async ({ ctx }) => {
      const { devices } = await ctx.db
        .selectFrom("devices")
        .select((eb) => eb.fn.countAll<number>().as("devices"))
        .executeTakeFirstOrThrow();
      return { tenant: ctx.config.tenant, mqttUrl: ctx.mqttUrl, devices };
    },
  }),
];
