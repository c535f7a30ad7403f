/** Who this device is, as it is stored after enrolment. Password and private key are secrets. */
import { z } from "zod";
import {
  deviceIdSchema,
  labelsSchema,
  regionSchema,
  tenantSchema,
} from "../shared/artifact/names.ts";
import { publicKeySchema } from "../shared/artifact/signature.ts";

/** The device's own signing key; the private part never leaves it. */
export const identityKeySchema = z.object({
  publicKey: publicKeySchema,
  privateKeyPem: z.string(),
});

export const identitySchema = z.object({
  tenant: tenantSchema,
  device: deviceIdSchema,
  region: regionSchema,
  labels: labelsSchema,
  mqttUrl: z.string(),
  caPem: z.string(),
  password: z.string(),
  key: identityKeySchema,
  signingKeys: z.array(publicKeySchema).min(1),
});
export type Identity = z.infer<typeof identitySchema>;
