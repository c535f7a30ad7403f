/**
 * Limits of one bundle in service, from its manifest, kept with its slot: an input may set off in a
 * model what no trial saw.
 */
import { z } from "zod";
import type { Manifest } from "../../shared/artifact/manifest.ts";
import type { RunnerOptions } from "../../shared/inference/runner.ts";
import type { Files } from "../../shared/ports/files.ts";
import type { SlotRow } from "../state/store.ts";

/** A process may rise above its budget for a moment; above this many times of it something is wrong. */
const ramFactor = 3;

const limitsSchema = z.object({
  /** Longest inference, in ms; without it the runner's own limit holds. */
  inferTimeoutMs: z.number().positive().optional(),
  /** Resident memory above which the process is ended. */
  ramBytesMax: z.number().positive().optional(),
});
export type SlotLimits = z.infer<typeof limitsSchema>;

export function limitsOf({ gates, soak }: Manifest): SlotLimits {
  return {
    ...(soak !== null && { inferTimeoutMs: soak.inferTimeoutMs }),
    ...(gates.ramPeakBytesMax !== null && { ramBytesMax: gates.ramPeakBytesMax * ramFactor }),
  };
}

export function slotLimits({ limitsJson }: Pick<SlotRow, "limitsJson">): SlotLimits {
  return limitsJson === null ? {} : limitsSchema.parse(JSON.parse(limitsJson));
}

/** What a runner on the models of these slots is started with; no limit unless each has one. */
export function memoryLimit(
  files: Files,
  slots: readonly Pick<SlotRow, "limitsJson">[],
): Pick<RunnerOptions, "memory"> {
  let ramBytesMax = 0;
  for (const slot of slots) ramBytesMax += slotLimits(slot).ramBytesMax ?? Number.POSITIVE_INFINITY;
  return Number.isFinite(ramBytesMax) ? { memory: { files, ramBytesMax } } : {};
}
