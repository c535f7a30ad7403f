/** The whole wanted state of one device; sent on change and again on each birth. */
import { z } from "zod";
import { modelNameSchema, nameSchema } from "../../artifact/names.ts";
import { signedSchema } from "../../artifact/signature.ts";
import { defineMessage } from "../message.ts";

export const desired = defineMessage({
  name: "desired",
  version: 1,
  direction: "down",
  qos: 1,
  delivery: "best-effort",
  bytesMax: 262_144,
  schema: z.object({
    /** Rises with each change; an older document is ignored. */
    revision: z.int().min(0),
    /** What the controller thinks of this identity. */
    standing: z.enum(["active", "quarantined", "retired"]),
    models: z.record(
      modelNameSchema,
      z.object({
        /** One try of this device at this target; the outcome is reported under this name. */
        attempt: nameSchema,
        arm: z.enum(["canary", "fleet", "control"]),
        /** The controller has its outcome; one that has not, or has forgotten it, is sent it again. */
        outcomeKnown: z.boolean().default(false),
        manifest: signedSchema,
      }),
    ),
    /** Variants to benchmark and throw away. */
    measurements: z.array(z.object({ measurement: nameSchema, manifest: signedSchema })).max(64),
    /** An order to find out what operators cost (agents from 0.3.0 on); null for none. */
    costs: z.object({ measurement: nameSchema, order: signedSchema }).nullable().default(null),
    telemetry: z.object({ windowMs: z.int().min(1_000).max(86_400_000) }),
  }),
});
