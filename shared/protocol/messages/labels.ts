/**
 * Labels for single live samples: a device asks for those on which the new and the old model differ,
 * and gets the answers of people.
 */
import { z } from "zod";
import { modelNameSchema, nameSchema } from "../../artifact/names.ts";
import { defineMessage } from "../message.ts";

const bytesSchema = z.custom<Uint8Array>((value) => value instanceof Uint8Array);
const sampleSchema = z.string().regex(/^[0-9a-f]{32}$/);
/** Most bytes of one sample's inputs together; a larger one is not asked for. */
export const labelSampleBytesMax = 262_144;

export const labelRequest = defineMessage({
  name: "label-request",
  version: 1,
  direction: "up",
  qos: 1,
  delivery: "outbox",
  bytesMax: labelSampleBytesMax + 4_096,
  schema: z.object({
    attempt: nameSchema,
    model: modelNameSchema,
    /** Start of the hash of its bytes. */
    sample: sampleSchema,
    /** Class that each model answered. */
    freshIndex: z.int().min(0),
    runningIndex: z.int().min(0),
    /** The raw sample, by input. */
    inputs: z.record(z.string().max(256), bytesSchema),
  }),
});

/** Sent when labels are there, and again on each birth until the soak is over. */
export const labels = defineMessage({
  name: "labels",
  version: 1,
  direction: "down",
  qos: 1,
  delivery: "best-effort",
  bytesMax: 65_536,
  schema: z.object({
    attempt: nameSchema,
    model: modelNameSchema,
    labels: z
      .array(
        z.object({
          sample: sampleSchema,
          /** The true class, or null when a person cannot tell. */
          index: z.int().min(0).nullable(),
        }),
      )
      .max(500),
  }),
});
