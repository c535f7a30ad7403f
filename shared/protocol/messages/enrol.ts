/** Enrolment: a device turns a one-time claim token into an identity of its own. */
import { z } from "zod";
import { deviceIdSchema, labelsSchema, regionSchema, tenantSchema } from "../../artifact/names.ts";
import { publicKeySchema } from "../../artifact/signature.ts";
import { profileSchema } from "../../devices/profile.ts";
import { defineMessage } from "../message.ts";

/** Sent again with the same key and secret until it is answered, so a lost answer costs nothing. */
export const enrolRequest = defineMessage({
  name: "enrol-request",
  version: 1,
  direction: "claim-up",
  qos: 1,
  delivery: "best-effort",
  bytesMax: 16_384,
  schema: z.object({
    /** The device's own signing key. */
    publicKey: publicKeySchema,
    /** SHA-256 of the MQTT password that the device drew; the password itself never leaves it. */
    passwordSha256: z.string().regex(/^[0-9a-f]{64}$/),
    profile: profileSchema,
    agentVersion: z.string().max(32),
  }),
});

export const enrolResponse = defineMessage({
  name: "enrol-response",
  version: 1,
  direction: "claim-down",
  qos: 1,
  delivery: "best-effort",
  bytesMax: 16_384,
  schema: z.discriminatedUnion("accepted", [
    z.object({
      accepted: z.literal(true),
      tenant: tenantSchema,
      device: deviceIdSchema,
      region: regionSchema,
      labels: labelsSchema,
      /** Keys whose signature over a manifest counts. */
      signingKeys: z.array(publicKeySchema).min(1).max(8),
    }),
    z.object({ accepted: z.literal(false), code: z.string().max(64), reason: z.string().max(512) }),
  ]),
});
