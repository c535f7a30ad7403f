/** What operators cost on a device, as it was asked to find out; or why it could not. */
import { z } from "zod";
import { nameSchema } from "../../artifact/names.ts";
import { costTableSchema } from "../../inference/cost-table.ts";
import { defineMessage } from "../message.ts";
import { failureSchema } from "./measurement.ts";

export const costTable = defineMessage({
  name: "cost-table",
  version: 1,
  direction: "up",
  qos: 1,
  delivery: "outbox",
  bytesMax: 32_768,
  schema: z
    .object({
      /** Name of the order. */
      measurement: nameSchema,
      fingerprint: z.string().max(64),
      emulated: z.boolean(),
      /** True when load or throttling made too many times too long. */
      environmentDegraded: z.boolean(),
      table: costTableSchema.nullable(),
      failure: failureSchema.nullable(),
    })
    .refine(({ table, failure }) => (table === null) !== (failure === null), {
      message: "either a table or why there is none",
    }),
});
