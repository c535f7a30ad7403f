/** Birth and last will, paired by a session number so that a stale will is ignored. */
import { z } from "zod";
import { defineMessage } from "../message.ts";

/** Rises by one with each connection of a device, over reboots too; persisted before it is used. */
const session = z.int().min(1);

export const birth = defineMessage({
  name: "birth",
  version: 1,
  direction: "up",
  qos: 1,
  delivery: "best-effort",
  bytesMax: 4_096,
  schema: z.object({
    session,
    agentVersion: z.string().max(32),
    profileFingerprint: z.string().max(64),
    emulated: z.boolean(),
    /** Messages still in the outbox, and the boot that wrote the oldest. */
    outboxPending: z.int().min(0),
  }),
});

export const death = defineMessage({
  name: "death",
  version: 1,
  direction: "up",
  qos: 1,
  delivery: "best-effort",
  bytesMax: 1_024,
  schema: z.object({ session }),
});
