/** The parts of the API's answers that the demo reads; parsed, so that a change shows at once. */
import { z } from "zod";

export const deviceView = z.object({
  id: z.string(),
  region: z.string(),
  deviceClass: z.string().nullable(),
  online: z.boolean(),
  standing: z.string(),
  emulated: z.boolean(),
  models: z.record(
    z.string(),
    z.object({
      committed: z
        .object({
          bundleSha256: z.string(),
          version: z.string(),
          recipe: z.string(),
          releaseCounter: z.number(),
        })
        .nullable(),
      servingSha256: z.string().nullable(),
      update: z.object({ attempt: z.string(), state: z.string() }).nullable(),
    }),
  ),
});
export type DeviceView = z.infer<typeof deviceView>;

export const jobView = z.object({
  id: z.string(),
  status: z.enum(["queued", "running", "done", "failed", "cancelled"]),
  progressFraction: z.number(),
  message: z.string(),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
});

const scoreView = z.object({ value: z.number(), low: z.number(), high: z.number() });
export const variantView = z.object({
  recipe: z.string(),
  status: z.enum(["ready", "not-applicable", "failed"]),
  reason: z.string().nullable(),
  bundleSha256: z.string().nullable(),
  modelBytes: z.number().nullable(),
  evaluation: z.object({ sealed: scoreView }).nullable(),
});
export type VariantView = z.infer<typeof variantView>;

export const choiceView = z.object({
  deviceClass: z.string(),
  recipe: z.string().nullable(),
  bundleSha256: z.string().nullable(),
  emulated: z.boolean(),
  reasons: z.array(z.object({ recipe: z.string(), won: z.boolean(), why: z.string() })),
});
export type ChoiceView = z.infer<typeof choiceView>;

export const attemptView = z.object({
  id: z.string(),
  device: z.string(),
  stage: z.number(),
  arm: z.string(),
  status: z.enum(["offered", "withdrawn", "decided"]),
  outcome: z.string().nullable(),
  code: z.string().nullable(),
  why: z.string().nullable(),
  bundleSha256: z.string(),
  recipe: z.string(),
  servingSha256: z.string().nullable(),
});
export type AttemptView = z.infer<typeof attemptView>;

export const rolloutView = z.object({
  id: z.string(),
  status: z.string(),
  reason: z.string().nullable(),
  attempts: z.array(attemptView),
});
export type RolloutView = z.infer<typeof rolloutView>;

export const regionView = z.object({
  region: z.string(),
  devices: z.number(),
  inferences: z.number(),
  errorFraction: z.number().nullable(),
  latencyP50Ms: z.number().nullable(),
  latencyP90Ms: z.number().nullable(),
  bundles: z.array(z.string()),
});
export type RegionView = z.infer<typeof regionView>;
