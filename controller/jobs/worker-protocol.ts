/** What a compression worker is told and what it answers; structured-clone messages over IPC. */
import { z } from "zod";
import {
  type Evaluation,
  foretoldSchema,
  fusionSchema,
  journalSchema,
} from "../../shared/api/evaluation.ts";
import { modelInterfaceSchema } from "../../shared/artifact/bundle.ts";
import { metricNameSchema } from "../../shared/evaluation/metrics/registry.ts";
import { keptShapesSchema } from "../compress/cost/kept-shapes.ts";
import { splitSchema } from "../storage/golden/repository.ts";
import { foretellBoundSchema } from "./foretell-bound.ts";

const bytesSchema = z.custom<Uint8Array>((value) => value instanceof Uint8Array);

export const workOrderSchema = z.object({
  sourcePath: z.string(),
  interface: modelInterfaceSchema,
  /** Path of each file that the interface reads, by name. */
  assetPaths: z.record(z.string(), z.string()),
  /** Path of each file of the golden set, by name, and the manifest's name. */
  goldenFiles: z.record(z.string(), z.string()),
  goldenManifest: z.string(),
  split: splitSchema,
  /** Recipes as YAML, in the form that `parseRecipes` reads. */
  recipesYaml: z.string(),
  /** Resident memory beyond which the worker gives up; tensors lie outside of the heap. */
  memoryBytesMax: z.int(),
  /** Folder for files on their way. */
  scratchDir: z.string(),
  /** Folder for calibration tables; nothing is kept when it is left out. */
  calibrationDir: z.string().optional(),
  foretellBound: foretellBoundSchema,
});
export type WorkOrder = z.infer<typeof workOrderSchema>;

const scoreSchema = z.object({ value: z.number(), low: z.number(), high: z.number(), n: z.int() });

export const workResultSchema = z.discriminatedUnion("status", [
  z.object({
    status: z.literal("ready"),
    recipe: z.string(),
    metric: metricNameSchema,
    modelBytes: bytesSchema,
    opset: z.int(),
    /** Class index per sample of the whole pool; −1 for those that nothing is judged on. */
    top1: z.custom<Int32Array>((value) => value instanceof Int32Array),
    /** Loss per sample of the whole pool, NaN likewise; null for metrics that judge classes. */
    losses: z.custom<Float64Array>((value) => value instanceof Float64Array).nullable(),
    selection: scoreSchema,
    sealed: scoreSchema,
    worse: z.int(),
    better: z.int(),
    fusion: fusionSchema.nullable(),
    ramPeakBytes: z.int(),
    loadMs: z.number(),
    /** What each pass did. */
    journal: journalSchema,
    foretold: z.array(foretoldSchema),
    /** What times are foretold from; null where the file does not tell. */
    shapes: keptShapesSchema.nullable(),
    /** The source's own score on the selection part. */
    sourceSelection: scoreSchema,
  }),
  z.object({ status: z.literal("not-applicable"), recipe: z.string(), reason: z.string() }),
  z.object({
    status: z.literal("failed"),
    recipe: z.string(),
    code: z.string(),
    reason: z.string(),
  }),
]);
export type WorkResult = z.infer<typeof workResultSchema>;

export const workerMessageSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("progress"), fraction: z.number(), message: z.string() }),
  z.object({ kind: z.literal("result"), result: workResultSchema }),
  z.object({ kind: z.literal("done") }),
  z.object({ kind: z.literal("error"), code: z.string(), message: z.string() }),
]);
export type WorkerMessage = z.infer<typeof workerMessageSchema>;

type Ready = Extract<WorkResult, { status: "ready" }>;

/** What is kept of a result beside its file. */
export function evaluationOf(result: Ready): Evaluation {
  const { metric, selection, sealed, worse, better, ramPeakBytes, loadMs } = result;
  const { fusion, journal, foretold } = result;
  const figures = { metric, selection, sealed, worse, better, ramPeakBytes, loadMs };
  return { ...figures, fusion, journal, foretold };
}
