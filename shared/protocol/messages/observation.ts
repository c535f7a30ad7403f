/**
 * The signals of one device at one time after a commit, against the same length of time before it. A
 * control, which installed nothing, reports the same around the moment of its trial.
 */
import { z } from "zod";
import { modelNameSchema, nameSchema } from "../../artifact/names.ts";
import { defineMessage } from "../message.ts";

/** Mean of one signal over `n` inputs; 0 inputs say nothing. */
const meanSchema = z.object({ mean: z.number(), n: z.int().min(0) });

export const signalNameSchema = z.enum([
  /** Share of the golden shard that is right: higher is better. */
  "golden-metric",
  /** Share of shadowed inputs on which the model agrees with the one before. */
  "agreement",
  /** Share of answered inferences that took longer than the objective. */
  "over-slo",
  /** Share of inferences without an answer. */
  "errors",
]);
export type SignalName = z.infer<typeof signalNameSchema>;

const signalSchema = z.object({ before: meanSchema, after: meanSchema });
export type Signal = z.infer<typeof signalSchema>;
export const observedSignalsSchema = z.partialRecord(signalNameSchema, signalSchema);
export type ObservedSignals = z.infer<typeof observedSignalsSchema>;

export const observation = defineMessage({
  name: "observation",
  version: 1,
  direction: "up",
  qos: 1,
  delivery: "outbox",
  bytesMax: 4_096,
  schema: z.object({
    attempt: nameSchema,
    model: modelNameSchema,
    arm: z.enum(["canary", "control"]),
    /** Time of operation since the commit. */
    horizonMs: z.int().min(0),
    signals: observedSignalsSchema,
    emulated: z.boolean(),
  }),
});
