/**
 * What a soak knows: fixed facts from the moment of the commit, and counts that only grow. Both are
 * stored as JSON and checked when they are read.
 */
import { z } from "zod";
import { sha256Schema } from "../../shared/artifact/hash.ts";
import { soakSchema } from "../../shared/artifact/soak.ts";
import {
  soakHistogramsSchema,
  soakVerdictSchema,
} from "../../shared/protocol/messages/soak-report.ts";
import { emptyHistograms } from "./histograms.ts";

const slotSchema = z.enum(["a", "b"]);
const count = z.int().min(0);
const shareSchema = z.object({ mean: z.number(), n: count });

export const soakFactsSchema = z.object({
  attempt: z.string(),
  model: z.string(),
  version: z.string(),
  arm: z.enum(["canary", "control"]),
  bundleSha256: sha256Schema,
  slot: slotSchema,
  /** The model before, which stays in its slot for as long as the soak lasts; null for a control. */
  previous: z.object({ slot: slotSchema, bundleSha256: sha256Schema }).nullable(),
  spec: soakSchema,
  alphaDevice: z.number(),
  /** Metric of both models on the golden shard, from the trial. */
  golden: z.object({ before: shareSchema, after: shareSchema }).nullable(),
  /** Share of inputs on which the models may differ: the limit, or what the trial saw. */
  disagreementMax: z.number(),
  /** Inferences and crashes of the model before, over the same length of time. */
  before: z.object({ calls: count, crashes: count }),
  /** Operating time of the commit. */
  startedMs: z.number(),
});
export type SoakFacts = z.infer<typeof soakFactsSchema>;

export const soakCountsSchema = z.object({
  /** Shadowed inputs, and those on which the models differ. */
  compared: count,
  disagreed: count,
  /** Labelled samples that only the model before got right, and only the new one. */
  worse: count,
  better: count,
  labelled: count,
  asked: count,
  /** Inferences that were answered, and ends of the serving process. */
  calls: count,
  crashes: count,
  histograms: soakHistogramsSchema,
  /** Verdicts that were reported. */
  reached: z.array(soakVerdictSchema),
  /** Horizons that were reported. */
  horizonsMs: z.array(z.number()),
});
export type SoakCounts = z.infer<typeof soakCountsSchema>;

export const noCounts = (): SoakCounts => ({
  compared: 0,
  disagreed: 0,
  worse: 0,
  better: 0,
  labelled: 0,
  asked: 0,
  calls: 0,
  crashes: 0,
  histograms: emptyHistograms(),
  reached: [],
  horizonsMs: [],
});
