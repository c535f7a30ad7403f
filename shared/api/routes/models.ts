/** Files, models and their versions, golden sets, variants, measurements and choices. */
import { z } from "zod";
import { bundleFileSchema, modelInterfaceSchema } from "../../artifact/bundle.ts";
import { sha256Schema } from "../../artifact/hash.ts";
import { modelNameSchema, nameSchema } from "../../artifact/names.ts";
import { metricNameSchema } from "../../evaluation/metrics/registry.ts";
import { choiceReasonSchema, evaluationSchema } from "../evaluation.ts";
import { defineRoute, rawBody } from "../route.ts";
import { jobSchema } from "./jobs.ts";

const versionSchema = z
  .object({
    model: z.string(),
    version: z.string(),
    sourceSha256: sha256Schema,
    sourceBytes: z.int(),
    interface: modelInterfaceSchema,
    /** Files that the interface reads; older controllers know of none. */
    assets: z.array(bundleFileSchema.omit({ role: true })).default([]),
    poolSha256: sha256Schema,
    createdAtMs: z.int(),
  })
  .meta({ id: "ModelVersion" });

const goldenSetSchema = z
  .object({
    poolSha256: sha256Schema,
    name: z.string(),
    samples: z.int(),
    metric: metricNameSchema,
    shards: z.int(),
    createdAtMs: z.int(),
  })
  .meta({ id: "GoldenSet" });

export const variantSchema = z
  .object({
    recipe: z.string(),
    status: z.enum(["ready", "not-applicable", "failed"]),
    /** Why there is no file, in words. */
    reason: z.string().nullable(),
    bundleSha256: sha256Schema.nullable(),
    modelSha256: sha256Schema.nullable(),
    modelBytes: z.int().nullable(),
    opset: z.int().nullable(),
    evaluation: evaluationSchema.nullable(),
    createdAtMs: z.int(),
  })
  .meta({ id: "Variant" });
export type VariantAnswer = z.infer<typeof variantSchema>;

export const measurementSchema = z
  .object({
    id: z.string(),
    device: z.string(),
    deviceClass: z.string(),
    model: z.string(),
    version: z.string(),
    bundleSha256: sha256Schema,
    status: z.enum(["wanted", "done", "failed"]),
    /** Why there are no facts. */
    failure: z.object({ code: z.string(), why: z.string() }).nullable(),
    createdAtMs: z.int(),
    finishedAtMs: z.int().nullable(),
  })
  .meta({ id: "Measurement" });

const choiceSchema = z
  .object({
    deviceClass: z.string(),
    recipe: z.string().nullable(),
    bundleSha256: sha256Schema.nullable(),
    /** True when it rests on a device that declares other hardware than it has. */
    emulated: z.boolean(),
    reasons: z.array(choiceReasonSchema),
    createdAtMs: z.int(),
  })
  .meta({ id: "Choice" });
export type ChoiceAnswer = z.infer<typeof choiceSchema>;

const foretoldTimesSchema = z
  .object({
    deviceClass: z.string(),
    /** Whose cost table it is: of a device with the hardware of the class. */
    costs: z.object({
      device: z.string(),
      emulated: z.boolean(),
      degraded: z.boolean(),
      measuredAtMs: z.int(),
    }),
    variants: z.array(
      z.object({
        recipe: z.string(),
        /** Of the operators that the table covers; an estimate and never a claim. */
        foretoldMs: z.number(),
        /** Median on a device of the class; null where none measured it. */
        measuredMs: z.number().nullable(),
        /** Operators that the table says nothing of, with their number: `3 Sigmoid`. */
        notCovered: z.array(z.string()),
      }),
    ),
  })
  .meta({ id: "ForetoldTimes" });
export type ForetoldTimesAnswer = z.infer<typeof foretoldTimesSchema>;

const modelParams = z.object({ model: modelNameSchema });
const versionParams = modelParams.extend({ version: nameSchema });
const base = "/v1/models/{model}/versions/{version}";
/** Name of an uploaded file within its golden set. */
const fileName = z.string().regex(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/);

export const modelRoutes = {
  putBlob: defineRoute({
    method: "PUT",
    path: "/v1/blobs/{sha256}",
    summary: "Stores one file under the hash of its bytes; the body is the file.",
    tag: "models",
    params: z.object({ sha256: sha256Schema }),
    body: rawBody,
    answer: z.object({ sha256: sha256Schema, bytes: z.int() }),
    errors: ["artifact-mismatch", "disk-full"],
  }),
  importVersion: defineRoute({
    method: "POST",
    path: "/v1/models/{model}/versions",
    summary: "Takes in a version from uploaded files, after checking all of them.",
    tag: "models",
    params: modelParams,
    body: z.object({
      version: nameSchema,
      /** The ONNX file. */
      sourceSha256: sha256Schema,
      golden: z.object({
        /** Name of the JSON manifest among `files`. */
        manifest: fileName,
        files: z.record(fileName, sha256Schema),
      }),
      /** Made from the file and the golden set when it is left out. */
      interface: modelInterfaceSchema.optional(),
      /** The files that the interface reads, such as a tokenizer.json. */
      assets: z.record(fileName, sha256Schema).optional(),
    }),
    answer: versionSchema,
    status: 201,
    errors: [
      "artifact-missing",
      "conflict",
      "golden-invalid",
      "golden-mismatch",
      "onnx-cycle",
      "onnx-malformed",
      "onnx-not-finite",
      "onnx-too-large",
      "onnx-truncated",
      "onnx-unsupported",
      "runner-crashed",
      "runner-timeout",
      "tokenizer-invalid",
      "too-large",
    ],
  }),
  listModels: defineRoute({
    method: "GET",
    path: "/v1/models",
    summary: "All models with their versions, oldest first.",
    tag: "models",
    answer: z.object({
      models: z.array(z.object({ name: z.string(), versions: z.array(versionSchema) })),
    }),
  }),
  getModel: defineRoute({
    method: "GET",
    path: "/v1/models/{model}",
    summary: "One model with its versions, oldest first.",
    tag: "models",
    params: modelParams,
    answer: z.object({ name: z.string(), versions: z.array(versionSchema) }),
    errors: ["not-found"],
  }),
  getVersion: defineRoute({
    method: "GET",
    path: base,
    summary: "One version.",
    tag: "models",
    params: versionParams,
    answer: versionSchema,
    errors: ["not-found"],
  }),
  compressVersion: defineRoute({
    method: "POST",
    path: `${base}/compress`,
    summary: "Starts a job that makes and evaluates one variant per recipe.",
    tag: "models",
    params: versionParams,
    body: z.object({
      /** All recipes when it is left out. */
      recipes: z.array(nameSchema).min(1).max(200).optional(),
    }),
    answer: jobSchema,
    status: 201,
    errors: ["not-found", "recipe-unknown", "conflict"],
  }),
  listVariants: defineRoute({
    method: "GET",
    path: `${base}/variants`,
    summary: "What each recipe made of the version.",
    tag: "models",
    params: versionParams,
    answer: z.object({ variants: z.array(variantSchema) }),
    errors: ["not-found"],
  }),
  startMeasurements: defineRoute({
    method: "POST",
    path: `${base}/measurements`,
    summary: "Lets one device of each class benchmark the variants that its class could run.",
    tag: "models",
    params: versionParams,
    body: z.object({}),
    answer: z.object({ measurements: z.array(measurementSchema) }),
    status: 201,
    errors: ["not-found"],
  }),
  listMeasurements: defineRoute({
    method: "GET",
    path: `${base}/measurements`,
    summary: "What devices were asked to benchmark, and how far they are.",
    tag: "models",
    params: versionParams,
    answer: z.object({ measurements: z.array(measurementSchema) }),
    errors: ["not-found"],
  }),
  listChoices: defineRoute({
    method: "GET",
    path: `${base}/choices`,
    summary: "Which variant each class chose, and why the others lost.",
    tag: "models",
    params: versionParams,
    answer: z.object({ choices: z.array(choiceSchema) }),
    errors: ["not-found"],
  }),
  listForetoldTimes: defineRoute({
    method: "GET",
    path: `${base}/foretold-times`,
    summary: "Times of the variants per class, foretold from cost tables, beside those measured.",
    tag: "models",
    params: versionParams,
    answer: z.object({ foretold: z.array(foretoldTimesSchema) }),
    errors: ["not-found"],
  }),
  listGoldenSets: defineRoute({
    method: "GET",
    path: "/v1/golden-sets",
    summary: "All golden sets, oldest first.",
    tag: "models",
    answer: z.object({ goldenSets: z.array(goldenSetSchema) }),
  }),
};
