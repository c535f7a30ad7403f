/** What a device found out about a model after it was committed. Each verdict is sent once. */
import { z } from "zod";
import { sha256Schema } from "../../artifact/hash.ts";
import { modelNameSchema, nameSchema } from "../../artifact/names.ts";
import { defineMessage } from "../message.ts";

/** Bins of equal width over [0, 1]. */
export const soakBins = 20;
const binsSchema = z.array(z.int().min(0)).length(soakBins);
/** The new and the old model on the same inputs. */
const bothSchema = z.object({ fresh: binsSchema, running: binsSchema });
export type BothHistograms = z.infer<typeof bothSchema>;

export const soakHistogramsSchema = z.object({
  /** Highest score. */
  confidence: bothSchema,
  /** Highest score less the second. */
  margin: bothSchema,
  /** Entropy of the scores over that of an even guess. */
  entropy: bothSchema,
});
export type SoakHistograms = z.infer<typeof soakHistogramsSchema>;

export const soakVerdictSchema = z.enum([
  /** The model before serves again. */
  "rolled-back",
  /** Fewer inputs differ than the margin, shown without a label. */
  "certified",
  /** More inputs differ than the laboratory saw; labels are asked for. No claim about accuracy. */
  "paused",
  /** The watch is over. */
  "ended",
]);
export type SoakVerdict = z.infer<typeof soakVerdictSchema>;

export const soakReport = defineMessage({
  name: "soak-report",
  version: 1,
  direction: "up",
  qos: 1,
  delivery: "outbox",
  bytesMax: 16_384,
  schema: z.object({
    attempt: nameSchema,
    model: modelNameSchema,
    version: nameSchema,
    /** The model that was watched. */
    bundleSha256: sha256Schema,
    verdict: soakVerdictSchema,
    /** `soak-crashes`, `soak-labels`, `soak-disagreement`, `soak-certificate`, `soak-complete`, … */
    code: z.string().max(64),
    /** One sentence with the numbers. */
    why: z.string().max(1_024),
    numbers: z.record(z.string().max(64), z.number()),
    histograms: soakHistogramsSchema,
    /** Shifts of the histograms, in words; they decide nothing. */
    warnings: z.array(z.string().max(256)).max(8),
    /** Hash that is served with this report. */
    servingSha256: sha256Schema.nullable(),
    emulated: z.boolean(),
  }),
});
