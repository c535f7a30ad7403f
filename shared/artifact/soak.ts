/**
 * What a device watches after a commit and for how long, as the manifest orders it. Limits of the soak
 * are signed with the release, so a device that is cut off decides by them alone.
 */
import { z } from "zod";

const dayMs = 86_400_000;
const fraction = z.number().min(0).max(1);

export const soakSchema = z.object({
  /** Time of operation, not of the calendar, that the model is watched. */
  durationMs: z
    .int()
    .min(1_000)
    .max(90 * dayMs),
  /** Share of live inputs that the model before this one answers as well. */
  shadowFraction: fraction,
  /** Highest share of one processor that the shadow may take. */
  cpuFractionMax: fraction,
  /** No shadow while the hottest thermal zone is above this. */
  celsiusMax: z.number().nullable(),
  /** d0: share of inputs on which both models may differ before somebody should look. */
  disagreementMax: z.number().positive().max(0.5),
  /** delta: a certificate says that they differ on fewer inputs than this. */
  margin: z.number().positive().max(0.5),
  /** p0: crashes and hangs per inference that are nobody's fault. */
  crashFractionMax: z.number().positive().max(0.01),
  /** Longest inference in service; a process that is later is ended. */
  inferTimeoutMs: z.int().min(100).max(3_600_000),
  /** Most samples that a device asks a label for. */
  labelRequestsMax: z.int().min(0).max(500),
  /** Latency above which an inference counts as over the objective; null when there is none. */
  latencySloMs: z.number().positive().nullable(),
  /** Times after the commit at which the device reports its signals, before against after. */
  horizonsMs: z
    .array(
      z
        .int()
        .min(500)
        .max(90 * dayMs),
    )
    .max(8),
});
export type Soak = z.infer<typeof soakSchema>;
