/** The one outcome of one attempt, with the evidence that it rests on. */
import { z } from "zod";
import { sha256Schema } from "../../artifact/hash.ts";
import { modelNameSchema, nameSchema } from "../../artifact/names.ts";
import { defineMessage } from "../message.ts";

/** One gate of the trial: what was measured, against what, and what follows. */
export const gateResultSchema = z.object({
  gate: z.enum([
    ...([
      "load",
      "parity",
      "metric-floor",
      "paired-metric",
      "latency",
      "memory",
      "serving",
    ] as const),
    /** Only where the manifest's vocabulary is 2 or more. */
    "energy",
  ]),
  verdict: z.enum(["pass", "fail", "inconclusive", "skipped"]),
  /** One sentence with the numbers, for people. */
  why: z.string().max(512),
  numbers: z.record(z.string().max(64), z.number()),
});
export type GateResult = z.infer<typeof gateResultSchema>;

export const outcomeSchema = z.enum([
  "committed",
  "rolled-back",
  "failed",
  "refused",
  "superseded",
  /** A control trial came to its end; only where a manifest of purpose `control` asked for it. */
  "observed",
]);

export const attemptOutcome = defineMessage({
  name: "attempt-outcome",
  version: 1,
  direction: "up",
  qos: 1,
  delivery: "outbox",
  bytesMax: 32_768,
  schema: z.object({
    attempt: nameSchema,
    model: modelNameSchema,
    version: nameSchema,
    bundleSha256: sha256Schema,
    releaseCounter: z.int().min(0),
    outcome: outcomeSchema,
    /** Error code or gate name that decided; "ok" for a commit. */
    code: z.string().max(64),
    why: z.string().max(1_024),
    gates: z.array(gateResultSchema).max(16),
    /** Hash that is served after this outcome. */
    servingSha256: sha256Schema.nullable(),
    emulated: z.boolean(),
  }),
});
