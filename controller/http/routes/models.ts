/** Models, versions, variants, measurements, choices, recipes, jobs. */
import { z } from "zod";
import { modelInterfaceSchema } from "../../../shared/artifact/bundle.ts";
import { sha256Schema } from "../../../shared/artifact/hash.ts";
import { nameSchema } from "../../../shared/artifact/names.ts";
import { listMeasurements, startMeasurements } from "../../measure/service.ts";
import { evaluationSchema } from "../../models/evaluation.ts";
import { importVersion } from "../../models/import.ts";
import { listVariants } from "../../models/variants.ts";
import { listChoices } from "../../plan/service.ts";
import { type AnyRoute, defineRoute } from "./route.ts";

const versionParams = z.object({ model: nameSchema, version: nameSchema });
const jobSchema = z
  .object({
    id: z.string(),
    kind: z.string(),
    status: z.string(),
    progressFraction: z.number(),
    message: z.string(),
    error: z.object({ code: z.string(), message: z.string() }).nullable(),
    createdAtMs: z.number(),
    finishedAtMs: z.number().nullable(),
  })
  .meta({ id: "Job" });
const variantSchema = z
  .object({
    recipe: z.string(),
    status: z.string(),
    reason: z.string().nullable(),
    bundleSha256: z.string().nullable(),
    modelBytes: z.number().nullable(),
    opset: z.number().nullable(),
    evaluation: evaluationSchema.nullable(),
  })
  .meta({ id: "Variant" });
const measurementSchema = z
  .object({
    id: z.string(),
    device: z.string(),
    deviceClass: z.string(),
    model: z.string(),
    version: z.string(),
    bundleSha256: z.string(),
    status: z.string(),
    failureJson: z.string().nullable(),
    createdAtMs: z.number(),
    finishedAtMs: z.number().nullable(),
  })
  .meta({ id: "Measurement" });
const choiceSchema = z
  .object({
    deviceClass: z.string(),
    recipe: z.string().nullable(),
    bundleSha256: z.string().nullable(),
    emulated: z.boolean(),
    reasons: z.array(z.object({ recipe: z.string(), won: z.boolean(), why: z.string() })),
    createdAtMs: z.number(),
  })
  .meta({ id: "Choice" });
const versionSchema = z.object({
  model: z.string(),
  version: z.string(),
  sourceSha256: z.string(),
  sourceBytes: z.number(),
  poolSha256: z.string(),
  createdAtMs: z.number(),
});
const base = "/v1/models/:model/versions/:version";

export const modelRoutes: readonly AnyRoute[] = [
  defineRoute({
    method: "GET",
    path: "/v1/models",
    summary: "All versions of all models",
    tag: "models",
    answer: z.object({ versions: z.array(versionSchema) }),
    handle: async ({ ctx }) => ({
      versions: await ctx.db
        .selectFrom("modelVersions")
        .select(["model", "version", "sourceSha256", "sourceBytes", "poolSha256", "createdAtMs"])
        .orderBy("model")
        .orderBy("createdAtMs")
        .execute(),
    }),
  }),
  defineRoute({
    method: "POST",
    path: "/v1/models/:model/versions",
    summary: "Import a version with its golden set; the files were uploaded before",
    tag: "models",
    params: z.object({ model: nameSchema }),
    body: z.object({
      version: nameSchema,
      sourceSha256: sha256Schema,
      golden: z.object({
        manifest: z.string().min(1).max(128),
        files: z.record(z.string().min(1).max(128), sha256Schema),
      }),
      interface: modelInterfaceSchema.optional(),
    }),
    answer: z.object({ poolSha256: z.string() }),
    handle: ({ ctx }, { params, body }) => importVersion(ctx, { model: params.model, ...body }),
  }),
  defineRoute({
    method: "POST",
    path: `${base}/compress`,
    summary: "Make and evaluate the variants of a version; answers a job",
    tag: "models",
    params: versionParams,
    body: z.object({ recipes: z.array(nameSchema).max(100).optional() }),
    answer: jobSchema,
    handle: ({ jobs }, { params, body }) => jobs.startCompress({ ...params, ...body }),
  }),
  defineRoute({
    method: "GET",
    path: `${base}/variants`,
    summary: "What each recipe made",
    tag: "models",
    params: versionParams,
    answer: z.object({ variants: z.array(variantSchema) }),
    handle: async ({ ctx }, { params }) => ({ variants: await listVariants(ctx, params) }),
  }),
  defineRoute({
    method: "POST",
    path: `${base}/measurements`,
    summary: "Benchmark the variants on a device of each class; then every class chooses",
    tag: "models",
    params: versionParams,
    answer: z.object({ measurements: z.array(measurementSchema) }),
    handle: async ({ ctx }, { params }) => ({ measurements: await startMeasurements(ctx, params) }),
  }),
  defineRoute({
    method: "GET",
    path: `${base}/measurements`,
    summary: "Benchmarks of a version on devices",
    tag: "models",
    params: versionParams,
    answer: z.object({ measurements: z.array(measurementSchema) }),
    handle: async ({ ctx }, { params }) => ({ measurements: await listMeasurements(ctx, params) }),
  }),
  defineRoute({
    method: "GET",
    path: `${base}/choices`,
    summary: "Which variant each class chose, and why the others lost",
    tag: "models",
    params: versionParams,
    answer: z.object({ choices: z.array(choiceSchema) }),
    handle: async ({ ctx }, { params }) => ({ choices: await listChoices(ctx, params) }),
  }),
  defineRoute({
    method: "GET",
    path: "/v1/recipes",
    summary: "Recipes as configured",
    tag: "models",
    answer: z.object({ recipes: z.array(z.record(z.string(), z.unknown())) }),
    handle: async ({ ctx }) => ({ recipes: ctx.fleet.recipes }),
  }),
  defineRoute({
    method: "GET",
    path: "/v1/jobs",
    summary: "All jobs, newest first",
    tag: "jobs",
    answer: z.object({ jobs: z.array(jobSchema) }),
    handle: async ({ jobs }) => ({ jobs: await jobs.list() }),
  }),
  defineRoute({
    method: "GET",
    path: "/v1/jobs/:id",
    summary: "One job",
    tag: "jobs",
    params: z.object({ id: nameSchema }),
    answer: jobSchema,
    handle: ({ jobs }, { params }) => jobs.get(params.id),
  }),
  defineRoute({
    method: "POST",
    path: "/v1/jobs/:id/cancel",
    summary: "Stop a job",
    tag: "jobs",
    params: z.object({ id: nameSchema }),
    answer: jobSchema,
    handle: ({ jobs }, { params }) => jobs.cancel(params.id),
  }),
];
