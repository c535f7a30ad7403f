/** The probed profile; sent after enrolment and whenever its fingerprint changes. */
import { z } from "zod";
import { profileSchema } from "../../devices/profile.ts";
import { defineMessage } from "../message.ts";

export const inventory = defineMessage({
  name: "inventory",
  version: 1,
  direction: "up",
  qos: 1,
  delivery: "outbox",
  bytesMax: 16_384,
  schema: z.object({ profile: profileSchema, agentVersion: z.string().max(32) }),
});
