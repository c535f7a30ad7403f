/**
 * Compresses one version by every wanted recipe: starts the worker, stores each file that it makes with
 * its bundle, evaluation and reference outputs.
 */
import { join } from "node:path";
import { stringify } from "yaml";
import { z } from "zod";
import type { Evaluation } from "../../shared/api/evaluation.ts";
import { type Bundle, encodeBundle, modelInterfaceSchema } from "../../shared/artifact/bundle.ts";
import { canonicalJson } from "../../shared/artifact/canonical-json.ts";
import { sha256Hex } from "../../shared/artifact/hash.ts";
import { nameSchema } from "../../shared/artifact/names.ts";
import { assert } from "../../shared/assert.ts";
import { FleetError, isErrorCode } from "../../shared/errors.ts";
import { encodeReference } from "../../shared/evaluation/golden-shard.ts";
import { splitPool } from "../../shared/evaluation/golden-split.ts";
import type { Recipe } from "../compress/recipe.ts";
import type { ControllerContext } from "../context.ts";
import { splitSeed } from "../models/import.ts";
import type { ModelVersionTable, VariantTable } from "../storage/schema.ts";
import { type WorkOrder, type WorkResult, workerMessageSchema } from "./worker-protocol.ts";

export const compressInputSchema = z.object({
  model: nameSchema,
  version: nameSchema,
  /** All recipes when left out. */
  recipes: z.array(nameSchema).max(100).optional(),
});
export type CompressInput = z.infer<typeof compressInputSchema>;

type Progress = (fraction: number, message: string) => Promise<void>;
type Ready = Extract<WorkResult, { status: "ready" }>;

const entry = new URL("./compress-worker-main.ts", import.meta.url);
const filesSchema = z.record(z.string(), z.string());

/** Errors: `job-failed`, `job-cancelled` as the signal's reason, and what the worker answers. */
export async function runCompress(
  ctx: ControllerContext,
  input: CompressInput,
  signal: AbortSignal,
  onProgress: Progress,
): Promise<void> {
  const version = await ctx.db
    .selectFrom("modelVersions")
    .selectAll()
    .where("model", "=", input.model)
    .where("version", "=", input.version)
    .executeTakeFirstOrThrow();
  const recipes = await missingRecipes(ctx, input);
  if (recipes.length === 0) return;
  const scratchDir = join(ctx.config.dataDir, "scratch", `${input.model}-${input.version}`);
  await ctx.files.makeDirectory(scratchDir);
  try {
    const order = await workOrder(ctx, version, recipes, scratchDir);
    await superviseWorker(ctx, { order, signal, onProgress }, (result) =>
      storeVariant(ctx, {
        version,
        recipe: recipes.find(({ name }) => name === result.recipe),
        result,
      }),
    );
  } finally {
    await ctx.files.remove(scratchDir);
  }
}

/** Wanted recipes without a variant yet; what a recipe made before stays as long as it is unchanged. */
async function missingRecipes(ctx: ControllerContext, input: CompressInput): Promise<Recipe[]> {
  const rows = await ctx.db
    .selectFrom("variants")
    .select("recipeSha256")
    .where("model", "=", input.model)
    .where("version", "=", input.version)
    .where("status", "!=", "failed")
    .execute();
  const made = new Set(rows.map(({ recipeSha256 }) => recipeSha256));
  const { recipes: wanted } = input;
  return ctx.fleet.recipes.filter(
    (recipe) =>
      (wanted === undefined || wanted.includes(recipe.name)) && !made.has(recipeHash(recipe)),
  );
}

function recipeHash(recipe: Recipe): string {
  return sha256Hex(canonicalJson(recipe));
}

async function workOrder(
  ctx: ControllerContext,
  version: ModelVersionTable,
  recipes: readonly Recipe[],
  scratchDir: string,
): Promise<WorkOrder> {
  const golden = await ctx.db
    .selectFrom("goldenSets")
    .selectAll()
    .where("poolSha256", "=", version.poolSha256)
    .executeTakeFirstOrThrow();
  const { "": manifest, ...files } = filesSchema.parse(JSON.parse(golden.filesJson));
  return {
    sourcePath: ctx.blobs.path(version.sourceSha256),
    interface: modelInterfaceSchema.parse(JSON.parse(version.interfaceJson)),
    goldenFiles: Object.fromEntries(
      Object.entries(files).map(([name, sha256]) => [name, ctx.blobs.path(sha256)]),
    ),
    goldenManifest: manifest ?? "golden.json",
    splitSeed,
    recipesYaml: stringify({ recipes }),
    memoryBytesMax: ctx.config.jobMemoryBytesMax,
    scratchDir,
  };
}

/** Runs the worker to its end; kills it on abort and after the job's time. */
function superviseWorker(
  ctx: ControllerContext,
  job: { order: WorkOrder; signal: AbortSignal; onProgress: Progress },
  onResult: (result: WorkResult) => Promise<void>,
): Promise<void> {
  const heapMegabytes = Math.ceil(ctx.config.jobMemoryBytesMax / 2 ** 20);
  const child = ctx.processes.fork(entry, {
    env: { NODE_OPTIONS: `--max-old-space-size=${heapMegabytes}` },
  });
  return new Promise((resolve, reject) => {
    let storing: Promise<void> = Promise.resolve();
    let failure: unknown;
    let done = false;
    const end = (error: unknown) => {
      failure ??= error;
      child.kill("SIGKILL");
    };
    const cancelTimeout = ctx.clock.after(ctx.config.jobTimeoutMs, () =>
      end(new FleetError("job-failed", `the job took longer than ${ctx.config.jobTimeoutMs} ms`)),
    );
    const abort = () => end(job.signal.reason);
    job.signal.addEventListener("abort", abort);
    if (job.signal.aborted) abort();
    child.onMessage((raw) => {
      storing = storing.then(async () => {
        const message = workerMessageSchema.parse(raw);
        if (message.kind === "progress") await job.onProgress(message.fraction, message.message);
        else if (message.kind === "result") await onResult(message.result);
        else if (message.kind === "done") done = true;
        else
          end(
            new FleetError(
              isErrorCode(message.code) ? message.code : "job-failed",
              message.message,
            ),
          );
      });
      storing.catch(end);
    });
    child.onExit(({ code, signal }) => {
      cancelTimeout();
      job.signal.removeEventListener("abort", abort);
      storing.then(() => {
        if (done && failure === undefined) resolve();
        else
          reject(
            failure ??
              new FleetError("job-failed", `the worker ended (${signal ?? `code ${code}`})`),
          );
      }, reject);
    });
    child.send(job.order);
  });
}

async function storeVariant(
  ctx: ControllerContext,
  made: { version: ModelVersionTable; recipe: Recipe | undefined; result: WorkResult },
): Promise<void> {
  const { version, recipe, result } = made;
  assert(recipe !== undefined, `the worker answers for ${result.recipe}, which was not asked for`);
  const recipeSha256 = recipeHash(recipe);
  const base = {
    id: `${version.model}/${version.version}/${result.recipe}`,
    model: version.model,
    version: version.version,
    recipe: result.recipe,
    recipeSha256,
    status: result.status,
    reason: result.status === "ready" ? null : result.reason,
    createdAtMs: ctx.clock.wallMs(),
  };
  const files =
    result.status === "ready" ? await storeFiles(ctx, version, recipeSha256, result) : noFiles;
  const row: VariantTable = { ...base, ...files };
  await ctx.db
    .insertInto("variants")
    .values(row)
    .onConflict((conflict) => conflict.columns(["model", "version", "recipe"]).doUpdateSet(row))
    .execute();
}

const noFiles = {
  bundleSha256: null,
  bundleBytes: null,
  modelSha256: null,
  modelBytes: null,
  opset: null,
  evaluationJson: null,
};

async function storeFiles(
  ctx: ControllerContext,
  version: ModelVersionTable,
  recipeSha256: string,
  result: Ready,
) {
  const modelSha256 = await ctx.blobs.put(result.modelBytes);
  const descriptor: Bundle = {
    schema: "fleetfit/bundle/1",
    model: version.model,
    version: version.version,
    files: [
      {
        role: "model",
        name: "model.onnx",
        sha256: modelSha256,
        bytes: result.modelBytes.byteLength,
      },
    ],
    interface: modelInterfaceSchema.parse(JSON.parse(version.interfaceJson)),
    thresholds: {},
    provenance: {
      sourceSha256: version.sourceSha256,
      recipe: result.recipe,
      recipeSha256,
      seed: splitSeed,
      runtime: ctx.config.onnxruntime,
      cpuFlags: [],
    },
  };
  const bundle = encodeBundle(descriptor);
  await ctx.blobs.put(bundle.bytes);
  const evaluation: Evaluation = {
    metric: result.metric,
    selection: result.selection,
    sealed: result.sealed,
    worse: result.worse,
    better: result.better,
    ramPeakBytes: result.ramPeakBytes,
    loadMs: result.loadMs,
  };
  await storeReferences(ctx, version.poolSha256, bundle.sha256, result.top1);
  return {
    bundleSha256: bundle.sha256,
    bundleBytes: bundle.bytes.byteLength,
    modelSha256,
    modelBytes: result.modelBytes.byteLength,
    opset: result.opset,
    evaluationJson: JSON.stringify(evaluation),
  };
}

/** The variant's own answers on each shard: what a device must reproduce. */
async function storeReferences(
  ctx: ControllerContext,
  poolSha256: string,
  bundleSha256: string,
  top1: Int32Array,
): Promise<void> {
  const shards = await ctx.db
    .selectFrom("goldenShards")
    .selectAll()
    .where("poolSha256", "=", poolSha256)
    .execute();
  if (shards.length === 0) return;
  const split = splitPool({ count: top1.length, metric: "top-1" }, splitSeed);
  for (const { shardIndex, sha256: shardSha256 } of shards) {
    const answers = [...(split.shards[shardIndex] ?? [])].map((index) => top1[index]!);
    const bytes = encodeReference({ bundleSha256, shardSha256, top1: answers });
    const row = {
      bundleSha256,
      shardSha256,
      sha256: await ctx.blobs.put(bytes),
      bytes: bytes.byteLength,
    };
    await ctx.db
      .insertInto("referenceOutputs")
      .values(row)
      .onConflict((conflict) => conflict.columns(["bundleSha256", "shardSha256"]).doUpdateSet(row))
      .execute();
  }
}
