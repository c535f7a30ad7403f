/**
 * A claim token is what an operator carries to a device: where the controller is, whom to trust, and
 * a one-time secret. It is a credential until it is used or expires, so it is never logged.
 *
 * Text form: `ffclaim1.` and the base64url of its JSON.
 */
import { z } from "zod";
import { nameSchema, tenantSchema } from "../artifact/names.ts";
import { publicKeySchema } from "../artifact/signature.ts";
import { FleetError } from "../errors.ts";

const prefix = "ffclaim1.";
const textCharsMax = 16_384;

export const claimTokenSchema = z.object({
  tenant: tenantSchema,
  /** Names the token in topics and in the controller's table. */
  claim: nameSchema,
  secret: z.string().min(32).max(128),
  mqttUrl: z.string().max(512),
  /** PEM of the controller's certificate authority. */
  caPem: z.string().max(8_192),
  signingKeys: z.array(publicKeySchema).min(1).max(8),
});
export type ClaimToken = z.infer<typeof claimTokenSchema>;

export function encodeClaimToken(token: ClaimToken): string {
  return prefix + Buffer.from(JSON.stringify(claimTokenSchema.parse(token))).toString("base64url");
}

/** Errors: `claim-invalid`. */
export function decodeClaimToken(text: string): ClaimToken {
  const trimmed = text.trim();
  try {
    if (!trimmed.startsWith(prefix) || trimmed.length > textCharsMax)
      throw new Error("no claim token");
    const json = Buffer.from(trimmed.slice(prefix.length), "base64url").toString("utf8");
    return claimTokenSchema.parse(JSON.parse(json));
  } catch (cause) {
    throw new FleetError("claim-invalid", "this is not a complete claim token", { cause });
  }
}

/** MQTT usernames say which kind of credential follows. */
export const claimUsernamePrefix = "claim:";
export const deviceUsernamePrefix = "device:";
export const controllerUsername = "controller";
