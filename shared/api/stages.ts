/** The stages of a rollout, as a client orders them. */
import { z } from "zod";
import { nameSchema } from "../artifact/names.ts";

/** Which devices a stage adds; those of earlier stages are left out. */
const stageSelectorSchema = z.discriminatedUnion("by", [
  z.object({ by: z.literal("per-class"), count: z.int().min(1) }),
  z.object({ by: z.literal("count"), count: z.int().min(1) }),
  z.object({ by: z.literal("percent"), percent: z.number().min(0).max(100) }),
  z.object({ by: z.literal("regions"), regions: z.array(nameSchema).min(1) }),
  z.object({ by: z.literal("classes"), classes: z.array(nameSchema).min(1) }),
  z.object({ by: z.literal("devices"), devices: z.array(nameSchema).min(1) }),
  z.object({ by: z.literal("all") }),
]);

export const stageSchema = z
  .object({ name: nameSchema, select: stageSelectorSchema })
  .meta({ id: "Stage" });
export type Stage = z.infer<typeof stageSchema>;
