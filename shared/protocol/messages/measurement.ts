/** Facts that a device measured for one bundle, for the choice of the variant of its class. */
import { z } from "zod";
import { sha256Schema } from "../../artifact/hash.ts";
import { modelNameSchema, nameSchema } from "../../artifact/names.ts";
import { defineMessage } from "../message.ts";

/** One measured value with what it rests on. */
export const factSchema = z.object({
  metric: z.enum(["golden-metric", "parity-flips", "latency-p50-ms", "ram-peak-bytes", "load-ms"]),
  value: z.number(),
  /** Two-sided 95 % interval where one is known. */
  interval: z.tuple([z.number(), z.number()]).nullable(),
  n: z.int().min(1),
});
export type Fact = z.infer<typeof factSchema>;

/** An error code and text. */
export const failureSchema = z.object({ code: z.string().max(64), why: z.string().max(1_024) });
export type Failure = z.infer<typeof failureSchema>;

export const measurement = defineMessage({
  name: "measurement",
  version: 1,
  direction: "up",
  qos: 1,
  delivery: "outbox",
  bytesMax: 16_384,
  schema: z.object({
    measurement: nameSchema,
    model: modelNameSchema,
    bundleSha256: sha256Schema,
    fingerprint: z.string().max(64),
    emulated: z.boolean(),
    /** True when load or throttling made the latency unfit for a choice. */
    environmentDegraded: z.boolean(),
    facts: z.array(factSchema).max(32),
    /** Why there are no facts. */
    failure: failureSchema.nullable(),
  }),
});
