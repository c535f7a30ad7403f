/** What a runner's parent and child say to each other over IPC ("advanced" serialization). */
import { z } from "zod";
import { dtypeSchema, modelInterfaceSchema } from "../artifact/bundle.ts";
import { costTimesSchema } from "./cost-table.ts";
import type { Answer } from "./processing/answer.ts";
import type { TypedData } from "./processing/typed-data.ts";

const bytesSchema = z.custom<Uint8Array>((value) => value instanceof Uint8Array);

export const samplesSchema = z.record(
  z.string(),
  z.object({ dtype: dtypeSchema, shape: z.array(z.int()), data: bytesSchema, count: z.int() }),
);
/** Raw samples of each input: `data` holds `count` samples of `shape` back to back. */
export type Samples = z.infer<typeof samplesSchema>;

/** A runner may hold a second model, to be timed in turn with the first on the same core. */
const addressed = { id: z.int(), model: z.int().min(0).max(1) };

const tensorSchema = z.object({
  dtype: z.string(),
  shape: z.array(z.int()).readonly(),
  data: z.custom<TypedData>((value) => ArrayBuffer.isView(value)),
});

/** Tensors by name. */
const tensorsSchema = z.record(z.string(), tensorSchema);

export const runnerRequestSchema = z.discriminatedUnion("call", [
  z.object({
    call: z.literal("load"),
    ...addressed,
    modelPath: z.string(),
    interface: modelInterfaceSchema,
    /** Paths of the files that the interface reads, by name. */
    assetPaths: z.record(z.string(), z.string()),
    optimizedModelPath: z.string().optional(),
  }),
  z.object({ call: z.literal("infer"), ...addressed, sample: z.record(z.string(), bytesSchema) }),
  z.object({ call: z.literal("set-samples"), ...addressed, samples: samplesSchema }),
  z.object({ call: z.literal("evaluate"), ...addressed }),
  z.object({
    call: z.literal("benchmark"),
    ...addressed,
    runs: z.int().min(1),
    firstSample: z.int().min(0),
  }),
  z.object({ call: z.literal("memory"), ...addressed }),
  // A model without an interface, for a process that helps another one: tensors in, tensors out.
  z.object({ call: z.literal("open"), id: z.int(), modelBytes: bytesSchema }),
  z.object({ call: z.literal("run"), id: z.int(), opened: z.int(), feeds: tensorsSchema }),
  z.object({ call: z.literal("shut"), id: z.int(), opened: z.int() }),
  /** Needs no model. */
  z.object({ call: z.literal("time-costs"), id: z.int(), probesPath: z.string() }),
]);
export type RunnerRequest = z.infer<typeof runnerRequestSchema>;

export const runnerReplySchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("answer"), id: z.int(), value: z.unknown() }),
  z.object({ kind: z.literal("error"), id: z.int(), code: z.string(), message: z.string() }),
  z.object({ kind: z.literal("progress"), id: z.int(), fraction: z.number() }),
]);
export type RunnerReply = z.infer<typeof runnerReplySchema>;

const memorySchema = z.object({
  ramPeakBytes: z.number().min(0),
  /** Peak before the model was loaded: what Node and onnxruntime take. */
  ramBaseBytes: z.number().min(0),
  loadMs: z.number().min(0),
});
export type RunnerMemory = z.infer<typeof memorySchema>;

const floatsSchema = z.custom<Float32Array>((value) => value instanceof Float32Array);

const evaluationSchema = z.object({
  /** Class index per sample; all 0 for models that do not classify. */
  top1: z.custom<Int32Array>((value) => value instanceof Int32Array),
  /** Flattened outputs per sample, for models that do not classify. */
  outputs: z.array(floatsSchema),
});
export type Evaluation = z.infer<typeof evaluationSchema>;

const benchmarkSchema = z.object({
  /** Wall time of each run, in ms. */
  latenciesMs: z.custom<Float64Array>((value) => value instanceof Float64Array),
  /** CPU time of the process over all runs together, in ms. */
  cpuMs: z.number().min(0),
});
export type Benchmark = z.infer<typeof benchmarkSchema>;

/** Any double: a model may well put out infinity or NaN. */
const doubleSchema = z.custom<number>((value) => typeof value === "number");

const answerSchema: z.ZodType<Answer> = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("classification"),
    index: z.int(),
    label: z.string(),
    score: doubleSchema,
    scores: floatsSchema,
  }),
  z.object({ kind: z.literal("tensors"), tensors: tensorsSchema }),
]);

/** What each call answers; the child's answers are checked like anything from outside. */
export const answerSchemas = {
  load: z.object({ onnxruntime: z.string() }),
  infer: answerSchema,
  "set-samples": z.int().min(0),
  evaluate: evaluationSchema,
  benchmark: benchmarkSchema,
  memory: memorySchema,
  open: z.object({
    /** What names the model in later calls. */
    opened: z.int(),
    /** How many axes each input has; 0 where that is not known. */
    ranks: z.record(z.string(), z.int()),
  }),
  run: tensorsSchema,
  shut: z.null(),
  "time-costs": costTimesSchema,
} satisfies Record<RunnerRequest["call"], z.ZodType>;
export type RunnerAnswers = {
  [Call in keyof typeof answerSchemas]: z.infer<(typeof answerSchemas)[Call]>;
};
