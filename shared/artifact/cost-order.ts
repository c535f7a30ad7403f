/**
 * The signed order "this device times these probes": what operators cost on its processor is told from them.
 * It names the one file that holds all probes by hash and length (`shared/inference/cost-probes.ts`).
 */
import { z } from "zod";
import { FleetError } from "../errors.ts";
import { sha256Schema } from "./hash.ts";
import { deviceIdSchema, tenantSchema } from "./names.ts";
import {
  type KeyPair,
  type PublicKey,
  type Signed,
  signDocument,
  verifyDocument,
} from "./signature.ts";

/** About a hundred times what the probes have. */
const probesBytesMax = 16_000_000;

export const costOrderSchema = z.object({
  schema: z.literal("fleetfit/cost-order/1"),
  tenant: tenantSchema,
  device: deviceIdSchema,
  probes: z.object({ sha256: sha256Schema, bytes: z.int().min(1).max(probesBytesMax) }),
  issuedAtMs: z.int().min(0),
  expiresAtMs: z.int().min(0),
});
export type CostOrder = z.infer<typeof costOrderSchema>;

export function signCostOrder(order: CostOrder, key: KeyPair): Signed {
  return signDocument(costOrderSchema.parse(order), key);
}

/**
 * Signature first, then shape. Audience and expiry are checks of the caller, who knows them.
 * Errors: `signature-invalid`, `costs-invalid`.
 */
export function verifyCostOrder(document: unknown, keys: readonly PublicKey[]): CostOrder {
  return verifyDocument(document, keys, {
    shape: costOrderSchema,
    invalid: (why, cause) => new FleetError("costs-invalid", `cost order: ${why}`, { cause }),
  });
}
