/** What the verdicts of a rollout rest on, and the ledger from which anybody can compute them again. */
import { z } from "zod";
import { nameSchema } from "../../artifact/names.ts";
import { defineRoute } from "../route.ts";

const testSchema = z.object({
  name: z.string(),
  stratum: z.string().nullable(),
  /** The e-value, as its natural logarithm; null when it is beyond any number. */
  logE: z.number().nullable(),
  /** What it has to reach. */
  logThreshold: z.number(),
});

export const evidenceSchema = z
  .object({
    rollout: z.string(),
    /** Errors that are promised, and how they are judged. */
    rules: z.record(z.string(), z.unknown()),
    offered: z.int(),
    passed: z.int(),
    rolledBack: z.int(),
    failed: z.int(),
    harmed: z.int(),
    well: z.int(),
    pairs: z.int(),
    /** Each signal at each time after the commit, over the strata that are left. */
    signals: z.array(
      z.object({
        signal: z.string(),
        /** 0 is the trial. */
        horizonMs: z.int(),
        pairs: z.int(),
        /** By how much canaries fell behind their controls; above 0 is worse, null without pairs. */
        meanDrop: z.number().nullable(),
        /** Of the fleet's test; null when beyond any number, and where no test is made of it. */
        logE: z.number().nullable(),
        /** Null for what only people read, and while nobody reported it. */
        logThreshold: z.number().nullable(),
        /** A claim needs it; others can only roll back. */
        promotes: z.boolean(),
      }),
    ),
    /** Any of them rolls back. */
    stopping: z.array(testSchema),
    /** All of them together promote. */
    promoting: z.array(testSchema),
    decisions: z.array(
      z.object({
        sequence: z.int(),
        atMs: z.int(),
        stage: z.int(),
        verdict: z.string(),
        /** The one that was taken back alone. */
        stratum: z.string().nullable(),
        why: z.string(),
        /** The entries before it come to the same values today. */
        replays: z.boolean(),
      }),
    ),
  })
  .meta({ id: "Evidence" });
export type EvidenceAnswer = z.infer<typeof evidenceSchema>;

const stratumSchema = z.object({
  stratum: z.string(),
  /** Mean of the e-values of its tests, as a logarithm; null when it is beyond any number. */
  logE: z.number().nullable(),
  /** Named by e-BH among all strata of this one look. */
  suspected: z.boolean(),
  /** Why it was taken back alone; null when it was not. */
  excluded: z.string().nullable(),
  tests: z.array(
    z.object({
      signal: z.string(),
      /** Time after the commit; 0 is the trial. */
      horizonMs: z.int(),
      pairs: z.int(),
      /** Above 0 is worse; null without pairs. */
      meanDrop: z.number().nullable(),
      logE: z.number().nullable(),
    }),
  ),
});

export const strataSchema = z
  .object({
    rollout: z.string(),
    /** Of the suspected strata, this share is expected to be healthy, at most. */
    falseDiscoveryRate: z.number(),
    strata: z.array(stratumSchema),
  })
  .meta({ id: "Strata" });
export type StrataAnswer = z.infer<typeof strataSchema>;

const params = z.object({ rollout: nameSchema });

export const evidenceRoutes = {
  getEvidence: defineRoute({
    method: "GET",
    path: "/v1/rollouts/{rollout}/evidence",
    summary: "The evidence of a rollout, and every decision, computed again from the ledger.",
    tag: "rollouts",
    params,
    answer: evidenceSchema,
    errors: ["not-found"],
  }),
  getStrata: defineRoute({
    method: "GET",
    path: "/v1/rollouts/{rollout}/strata",
    summary: "What each stratum says alone, strongest evidence of harm first: where to look.",
    tag: "rollouts",
    params,
    answer: strataSchema,
    errors: ["not-found"],
  }),
  getLedger: defineRoute({
    method: "GET",
    path: "/v1/rollouts/{rollout}/ledger",
    summary: "Rows of the ledger in order: rules, entries of evidence, decisions.",
    tag: "rollouts",
    params,
    query: z.object({
      /** The last sequence number that is known already. */
      after: z.coerce.number().int().min(-1).default(-1),
      limit: z.coerce.number().int().min(1).max(10_000).default(1_000),
    }),
    answer: z.object({
      rows: z.array(
        z.object({ sequence: z.int(), atMs: z.int(), body: z.record(z.string(), z.unknown()) }),
      ),
    }),
    errors: ["not-found"],
  }),
};
