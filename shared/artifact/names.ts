/** Names that become topic levels, folder names and URL parts: one rule for all of them. */
import { z } from "zod";

/** Lower-case letters, digits, dots, dashes and underscores; no leading dot; at most 64. */
export const nameSchema = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, "lower-case letters, digits, . _ - and at most 64 of them");

export const tenantSchema = nameSchema;
export const deviceIdSchema = nameSchema;
export const modelNameSchema = nameSchema;
export const regionSchema = nameSchema;

/** Free labels of a device: at most 16 short strings. */
export const labelsSchema = z
  .record(nameSchema, z.string().max(128))
  .refine((labels) => Object.keys(labels).length <= 16, "at most 16 labels");
