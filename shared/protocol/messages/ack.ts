/** The controller stored these outbox messages; the device deletes them. */
import { z } from "zod";
import { defineMessage } from "../message.ts";

export const ack = defineMessage({
  name: "ack",
  version: 1,
  direction: "down",
  qos: 1,
  delivery: "best-effort",
  bytesMax: 16_384,
  schema: z.object({
    messages: z
      .array(z.object({ boot: z.string().regex(/^[0-9a-f]{16}$/), sequence: z.int().min(0) }))
      .min(1)
      .max(256),
  }),
});
