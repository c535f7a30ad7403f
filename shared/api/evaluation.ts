/** What was found out about a variant, and why a class chose it or did not. */
import { z } from "zod";
import { processors } from "../devices/processor.ts";
import { metricNameSchema } from "../evaluation/metrics/registry.ts";

/** A share between 0 and 1 with its two-sided 95 % interval over n samples. */
const scoreSchema = z
  .object({ value: z.number(), low: z.number(), high: z.number(), n: z.int().min(0) })
  .meta({ id: "Score" });

/** Nodes of the graph that onnxruntime really runs on the controller's machine. */
export const fusionSchema = z
  .object({
    /** Those that multiply integers, and floats. */
    integerNodes: z.int(),
    floatNodes: z.int(),
    /** Those that turn floats into codes or back. */
    conversionNodes: z.int(),
    /** Layers that the recipe meant to run in int8, and those of them that do not. */
    plannedLayers: z.int().default(0),
    fellBack: z.array(z.object({ layer: z.string(), reason: z.string() })).default([]),
  })
  .meta({ id: "Fusion" });

/** What a recipe's passes did to the model, in their order. */
export const journalSchema = z
  .array(
    z.object({
      pass: z.string(),
      modified: z.boolean(),
      nodesBefore: z.int().min(0),
      nodesAfter: z.int().min(0),
      /** Counts, names and measured figures, as each pass tells them. */
      report: z.record(
        z.string(),
        z.union([z.string(), z.number(), z.boolean(), z.array(z.string())]),
      ),
    }),
  )
  .meta({ id: "Journal" });
export type Journal = z.infer<typeof journalSchema>;

/**
 * What the emulation says of a variant's accuracy on a processor that was not there. Only samples of the
 * selection part are used, as many as fitted into the bound, in an order that the split's seed gives.
 */
export const foretoldSchema = z
  .discriminatedUnion("outcome", [
    z.object({
      processor: z.enum(processors),
      outcome: z.literal("foretold"),
      /** The interval of a share is exact (Clopper and Pearson). */
      score: scoreSchema,
      /** Against the source on the same samples: those that got worse and better. */
      worse: z.int(),
      better: z.int(),
    }),
    /** No layer can give other integers there than where the variant was measured. */
    z.object({ processor: z.enum(processors), outcome: z.literal("as-here") }),
    z.object({
      processor: z.enum(processors),
      outcome: z.literal("not-foretold"),
      /** Operators that have no emulation, or what else was in the way. */
      why: z.string(),
    }),
  ])
  .meta({ id: "Foretold" });
export type Foretold = z.infer<typeof foretoldSchema>;

/** What the controller measured about a variant; stored as JSON beside it. */
export const evaluationSchema = z
  .object({
    /** As the golden set names it; `agreement`: likeness to the source's outputs. */
    metric: metricNameSchema,
    /** Samples that variants may be chosen on. */
    selection: scoreSchema,
    /** Samples that only floors are judged on. */
    sealed: scoreSchema,
    /** Against the source, on the selection part: samples that got worse and better. */
    worse: z.int(),
    better: z.int(),
    /** Of the controller's runner, Node and onnxruntime included. */
    ramPeakBytes: z.int(),
    loadMs: z.number(),
    /** Null where onnxruntime could not write that graph. */
    fusion: fusionSchema.nullable().default(null),
    /** Empty for variants that older controllers made. */
    journal: journalSchema.default([]),
    /**
     * For processors of other kinds than the controller's. Empty for variants without integer layers, whose
     * answers are those of every processor, and for those of older controllers.
     */
    foretold: z.array(foretoldSchema).default([]),
  })
  .meta({ id: "Evaluation" });
export type Evaluation = z.infer<typeof evaluationSchema>;

export const choiceReasonSchema = z
  .object({
    recipe: z.string(),
    won: z.boolean(),
    /** One sentence with the numbers. */
    why: z.string(),
  })
  .meta({ id: "ChoiceReason" });
