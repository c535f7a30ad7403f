/** What the controller found out about a variant, and why a class chose it or did not. */
import { z } from "zod";

/** A share between 0 and 1 with its two-sided 95 % interval over n samples. */
export const scoreSchema = z
  .object({ value: z.number(), low: z.number(), high: z.number(), n: z.int().min(0) })
  .meta({ id: "Score" });
export type Score = z.infer<typeof scoreSchema>;

export const evaluationSchema = z
  .object({
    /** `top-1`: share of right answers; `agreement`: how far the outputs are those of the source. */
    metric: z.enum(["top-1", "agreement"]),
    /** Samples that variants may be chosen on. */
    selection: scoreSchema,
    /** Samples that only floors and promotions are judged on. */
    sealed: scoreSchema,
    /** Sealed samples on which the variant and its float32 source differ in being right. */
    paired: z.object({ worse: z.int(), better: z.int(), n: z.int(), p: z.number() }).nullable(),
    /** Signal to noise of the outputs against those of the source; null when there is no noise. */
    signalToNoiseDb: z.number().nullable(),
    /** Of the process that held the model on the controller's machine. */
    host: z.object({
      onnxruntime: z.string(),
      ramPeakBytes: z.int(),
      ramBaseBytes: z.int(),
      loadMs: z.number(),
    }),
    /** What onnxruntime made of the heavy nodes. */
    fusion: z
      .object({ integerNodes: z.int(), floatNodes: z.int(), conversionNodes: z.int() })
      .nullable(),
    /** What each pass changed. */
    journal: z.array(
      z.object({
        pass: z.string(),
        modified: z.boolean(),
        nodesBefore: z.int(),
        nodesAfter: z.int(),
        report: z.record(
          z.string(),
          z.union([z.string(), z.number(), z.boolean(), z.array(z.string())]),
        ),
      }),
    ),
  })
  .meta({ id: "Evaluation" });
export type Evaluation = z.infer<typeof evaluationSchema>;

export const choiceReasonSchema = z
  .object({
    recipe: z.string(),
    won: z.boolean(),
    /** One sentence with the numbers. */
    why: z.string(),
    modelBytes: z.int().nullable(),
    metric: z.number().nullable(),
    latencyMs: z.number().nullable(),
    ramPeakBytes: z.number().nullable(),
  })
  .meta({ id: "ChoiceReason" });
export type ChoiceReason = z.infer<typeof choiceReasonSchema>;
