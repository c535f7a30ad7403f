/** What a device really runs, derived from what is committed on its disk. */
import { z } from "zod";
import { sha256Schema } from "../../artifact/hash.ts";
import { modelNameSchema, nameSchema } from "../../artifact/names.ts";
import { defineMessage } from "../message.ts";

export const reported = defineMessage({
  name: "reported",
  version: 1,
  direction: "up",
  qos: 1,
  delivery: "best-effort",
  bytesMax: 65_536,
  schema: z.object({
    desiredRevision: z.int().min(-1),
    models: z.record(
      modelNameSchema,
      z.object({
        committed: z
          .object({
            bundleSha256: sha256Schema,
            version: nameSchema,
            recipe: nameSchema,
            releaseCounter: z.int().min(0),
          })
          .nullable(),
        /** Hash that the serving process answers with now; null when none serves. */
        servingSha256: sha256Schema.nullable(),
        /** Highest counter ever accepted for a try, committed or not. */
        releaseCounterHighest: z.int().min(0),
        update: z
          .object({
            attempt: nameSchema,
            state: nameSchema,
            progressFraction: z.number().min(0).max(1),
          })
          .nullable(),
      }),
    ),
  }),
});
