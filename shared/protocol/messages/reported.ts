/** What a device really runs, derived from what is committed on its disk. */
import { z } from "zod";
import { sha256Schema } from "../../artifact/hash.ts";
import { scopeKeySchema } from "../../artifact/hold.ts";
import { modelNameSchema, nameSchema } from "../../artifact/names.ts";
import { signedSchema } from "../../artifact/signature.ts";
import { defineMessage } from "../message.ts";
import { holdsMax } from "./hold.ts";

/** Why an update is not installed yet. */
export const waitingSchema = z.object({
  code: nameSchema,
  why: z.string().max(1_024),
  /** When the wait is over by what the device knows; null when it does not know. */
  untilMs: z.number().nullable(),
});

export const reported = defineMessage({
  name: "reported",
  version: 1,
  direction: "up",
  qos: 1,
  delivery: "best-effort",
  bytesMax: 65_536,
  schema: z.object({
    desiredRevision: z.int().min(-1),
    /** The newest hold or release of each scope that this device knows and obeys. */
    holds: z
      .array(
        z.object({
          scope: scopeKeySchema,
          sequence: z.int().min(1),
          /** The document, unless the controller sent it over this connection. */
          document: signedSchema.nullable(),
        }),
      )
      .max(holdsMax)
      .default([]),
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
            /** Set while the update waits for a hold to end, its install window or power. */
            waiting: waitingSchema.nullable().default(null),
          })
          .nullable(),
      }),
    ),
  }),
});
