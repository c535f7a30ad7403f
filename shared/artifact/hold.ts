/**
 * The kill switch as a signed document: while one holds, no device of its scope installs anything. A
 * release is the same document with `held` false and a higher sequence.
 *
 * Invariant: of each scope the highest sequence counts, so an old hold or release that is sent again
 * changes nothing.
 */
import { z } from "zod";
import { FleetError } from "../errors.ts";
import { regionSchema, tenantSchema } from "./names.ts";
import {
  type KeyPair,
  type PublicKey,
  type Signed,
  signDocument,
  verifyDocument,
} from "./signature.ts";

export const holdScopeSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("tenant") }),
  z.object({ kind: z.literal("region"), region: regionSchema }),
]);
export type HoldScope = z.infer<typeof holdScopeSchema>;

export const holdReasonSchema = z.string().min(1).max(512);

const holdSchema = z.object({
  schema: z.literal("fleetfit/hold/1"),
  tenant: tenantSchema,
  scope: holdScopeSchema,
  /** Rises by one with each hold and release of the scope. */
  sequence: z.int().min(1),
  held: z.boolean(),
  reason: holdReasonSchema,
  issuedAtMs: z.int().min(0),
});
export type Hold = z.infer<typeof holdSchema>;

/** Names a scope in databases and messages: `tenant` or `region:eu-west`. */
export function scopeKey(scope: HoldScope): string {
  return scope.kind === "tenant" ? "tenant" : `region:${scope.region}`;
}

export const scopeKeySchema = z.string().max(80);

export function signHold(hold: Hold, key: KeyPair): Signed {
  return signDocument(holdSchema.parse(hold), key);
}

/**
 * Signature first, then shape. Audience and sequence are checks of the caller, who knows them.
 * Errors: `signature-invalid`, `hold-invalid`.
 */
export function verifyHold(document: unknown, keys: readonly PublicKey[]): Hold {
  return verifyDocument(document, keys, {
    shape: holdSchema,
    invalid: (why, cause) => new FleetError("hold-invalid", `hold: ${why}`, { cause }),
  });
}
