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
    /** 0 for the first attempt of the device in its rollout. */
    retry: z.int(),
    model: z.string(),
    version: z.string(),
    recipe: z.string(),
    /** Place of its stage in the rollout, from 0. */
    stage: z.int(),
    arm: z.string(),
    bundleSha256: sha256Schema,
    releaseCounter: z.int(),
    /** `withdrawn`: no longer wanted, and the device said nothing about it. */
    status: z.enum(["offered", "withdrawn", "decided"]),
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

const countSchema = z.object({
  /** Offered, undecided, inside the deadline. */
  open: z.int(),
  /** Past the deadline without a word; they count as harmed. */
  silent: z.int(),
  /** Past the deadline, but waiting for their window or the end of a hold. */
  waiting: z.int(),
  committed: z.int(),
  rolledBack: z.int(),
  /** Failed, refused or superseded. */
  other: z.int(),
  /** To be offered when there is room. */
  pending: z.int(),
  /** Not connected; offered when they appear. */
  away: z.int(),
  /** Left out, as their variant was rolled back and never committed. */
  held: z.int(),
  /** Went to a newer rollout. */
  taken: z.int(),
  /** Taken back with their region and class. */
  excluded: z.int(),
});

const stageViewSchema = z
  .object({
    name: z.string(),
    /** Null for a stage that has not begun. */
    startedAtMs: z.int().nullable(),
    endedAtMs: z.int().nullable(),
    verdict: z.string().nullable(),
    why: z.string().nullable(),
    counts: countSchema.nullable(),
  })
  .meta({ id: "StageView" });

/** Stored in databases and known to clients: never renamed. */
export const rolloutStatuses = [
  "awaiting-approval",
  "running",
  "paused",
  "awaiting-promotion",
  "stopped",
  "completed",
  "aborted",
  "superseded",
  "rolled-back",
] as const;
export type RolloutStatus = (typeof rolloutStatuses)[number];

export const rolloutSchema = z
  .object({
    id: z.string(),
    /** `aa`: the bundle that devices run already; `rollback`: what they ran before. */
    kind: z.enum(["release", "aa", "rollback"]),
    /** The rollout that a rollback takes back. */
    restores: z.string().nullable(),
    model: z.string(),
    version: z.string(),
    status: z.enum(rolloutStatuses),
    /** Why it stopped or was steered, in words. */
    reason: z.string().nullable(),
    stage: z.int(),
    stages: z.array(stageSchema),
    /** Of the random selection: the same seed and fleet give the same canaries. */
    seed: z.string(),
    onHarm: z.enum(["roll-back", "stop"]),
    /** Regions and classes that alone proved harm and were taken back alone. */
    excluded: z.array(
      z.object({
        stratum: z.string(),
        why: z.string(),
        atMs: z.int(),
        /** The rollback of its devices; null when none of them committed anything. */
        campaign: z.string().nullable(),
      }),
    ),
    /** How it is judged, what its fleet can prove, and how many healthy devices roll back. */
    power: z.string().nullable(),
    startedBy: z.string(),
    approvals: z.array(z.string()),
    approvalsNeeded: z.int(),
    releaseCounter: z.int(),
    createdAtMs: z.int(),
    timeline: z.array(stageViewSchema),
    /** Of a rollback: devices that report the old hash as served, of all that should. */
    proof: z.object({ proven: z.int(), of: z.int() }).nullable(),
    attempts: z.array(attemptSchema),
  })
  .meta({ id: "Rollout" });
export const rolloutSummarySchema = rolloutSchema.omit({
  timeline: true,
  proof: true,
  attempts: true,
});
export type RolloutAnswer = z.infer<typeof rolloutSchema>;

const rolloutParams = z.object({ rollout: nameSchema });
const steering = z.object({ reason: z.string().max(500).optional() });

const rateSchema = z.object({
  observed: z.int(),
  n: z.int(),
  /** The promised bound of the share. */
  promised: z.number(),
  /** Exact two-sided 95 % interval of the share (Clopper and Pearson). */
  low: z.number(),
  high: z.number(),
});
export type RateAnswer = z.infer<typeof rateSchema>;

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
      /** The bundle that devices run already, under a new release counter: a test of the gates. */
      aa: z.boolean().default(false),
      seed: z.string().min(1).max(64).optional(),
      /**
       * What lets the whole fleet have it: proof by pairs, or `device-gates`, which prove nothing of the
       * fleet. By default proof, where the fleet is large enough for it.
       */
      judge: z.enum(["e-process", "group-sequential", "device-gates"]).optional(),
      /**
       * Of the stage before the whole fleet, where no stages are given. By default a person lets the fleet
       * follow where nothing is proven and something runs that the release replaces.
       */
      gate: z.enum(["automatic", "manual"]).optional(),
      /** What happens to devices that committed a release which does harm. */
      onHarm: z.enum(["roll-back", "stop"]).default("roll-back"),
      /** A region and class that alone proves harm is taken back alone, or stops the rollout. */
      onStratumHarm: z.enum(["exclude", "stop"]).default("exclude"),
    }),
    answer: rolloutSchema,
    status: 201,
    errors: ["input-invalid", "not-found", "conflict"],
  }),
  listRollouts: defineRoute({
    method: "GET",
    path: "/v1/rollouts",
    summary: "All rollouts without their attempts, newest first.",
    tag: "rollouts",
    answer: z.object({ rollouts: z.array(rolloutSummarySchema) }),
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
  promoteRollout: defineRoute({
    method: "POST",
    path: "/v1/rollouts/{rollout}/promote",
    summary: "Lets a stage that waits for a person pass.",
    tag: "rollouts",
    params: rolloutParams,
    body: steering,
    answer: rolloutSchema,
    errors: ["not-found", "conflict"],
  }),
  approveRollout: defineRoute({
    method: "POST",
    path: "/v1/rollouts/{rollout}/approve",
    summary: "One more person agrees that it begins; never the one who started it.",
    tag: "rollouts",
    params: rolloutParams,
    answer: rolloutSchema,
    errors: ["not-found", "conflict"],
  }),
  rollBackRollout: defineRoute({
    method: "POST",
    path: "/v1/rollouts/{rollout}/rollback",
    summary: "Ends a rollout and brings every device that committed it what it ran before.",
    tag: "rollouts",
    params: rolloutParams,
    body: steering,
    answer: rolloutSchema,
    status: 201,
    errors: ["not-found", "conflict"],
  }),
  getCalibration: defineRoute({
    method: "GET",
    path: "/v1/calibration",
    summary: "False rollbacks seen in A/A rollouts, beside what is promised.",
    tag: "rollouts",
    answer: z.object({
      /** Devices of A/A rollouts that rolled back by themselves. */
      devices: rateSchema,
      /** A/A rollouts that stopped by themselves. */
      rollouts: rateSchema,
      each: z.array(
        z.object({
          rollout: z.string(),
          model: z.string(),
          version: z.string(),
          status: z.string(),
          createdAtMs: z.int(),
          devices: rateSchema,
        }),
      ),
    }),
  }),
};
