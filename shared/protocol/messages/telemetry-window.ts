/** One window of serving: counts and a latency histogram that merges by addition. */
import { z } from "zod";
import { sha256Schema } from "../../artifact/hash.ts";
import { modelNameSchema, regionSchema } from "../../artifact/names.ts";
import { defineMessage } from "../message.ts";

/** OpenTelemetry exponential histogram (base 2), dense from `offset`; values in milliseconds. */
export const histogramSchema = z.object({
  scale: z.int().min(-10).max(20),
  offset: z.int().min(-1_000_000).max(1_000_000),
  counts: z.array(z.int().min(0)).max(2_048),
  zeroCount: z.int().min(0),
  count: z.int().min(0),
  sum: z.number().min(0),
  min: z.number().min(0).nullable(),
  max: z.number().min(0).nullable(),
});
export type HistogramData = z.infer<typeof histogramSchema>;

export const telemetryWindow = defineMessage({
  name: "telemetry-window",
  version: 1,
  direction: "up",
  qos: 1,
  delivery: "outbox",
  bytesMax: 16_384,
  schema: z.object({
    model: modelNameSchema,
    bundleSha256: sha256Schema,
    region: regionSchema,
    /** Device's own time; the envelope tells how far to trust it. */
    startedAtMs: z.number().min(0),
    durationMs: z.number().min(0),
    ok: z.int().min(0),
    errors: z.int().min(0),
    timeouts: z.int().min(0),
    latency: histogramSchema,
    ramPeakBytes: z.int().min(0).nullable(),
    emulated: z.boolean(),
  }),
});
