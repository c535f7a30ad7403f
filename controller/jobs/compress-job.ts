/**
 * Compresses one version by every wanted recipe: starts the worker, stores each file that it makes with
 * its bundle, evaluation and reference outputs.
 */
import { join } from "node:path";
import { stringify } from "yaml";
import { z } from "zod";
import { encodeBundle } from "../../shared/artifact/bundle.ts";
import { nameSchema } from "../../shared/artifact/names.ts";
import { assert } from "../../shared/assert.ts";
import { readIsa } from "../../shared/devices/isa.ts";
import { encodeReference } from "../../shared/evaluation/golden-shard.ts";
import { splitPool } from "../../shared/evaluation/golden-split.ts";
import { type Recipe, recipeHash } from "../compress/recipe.ts";
import type { ControllerContext } from "../context.ts";
import { bundleOf } from "../models/bundle-of.ts";
import { assetPaths } from "../models/import.ts";
import { recordBlobs, type StoredBlob } from "../storage/blobs/repository.ts";
import type { Database } from "../storage/database.ts";
import { findGoldenSet, listShards, type StoredGoldenSet } from "../storage/golden/repository.ts";
import { requireVersion, type StoredVersion } from "../storage/models/repository.ts";
import type { ReferenceTable, VariantTable } from "../storage/schema.ts";
import { superviseWorker } from "./supervise.ts";
import { evaluationOf, type WorkOrder, type WorkResult } from "./worker-protocol.ts";

export const compressInputSchema = z.object({
  model: nameSchema,
  version: nameSchema,
  /** All recipes when left out. */
  recipes: z.array(nameSchema).max(100).optional(),
});
export type CompressInput = z.infer<typeof compressInputSchema>;

type Progress = (fraction: number, message: string) => Promise<void>;
type Ready = Extract<WorkResult, { status: "ready" }>;

/** Errors: `job-failed`, `job-cancelled` as the signal's reason, and what the worker answers. */
export async function runCompress(
  ctx: ControllerContext,
  input: CompressInput,
  signal: AbortSignal,
  onProgress: Progress,
): Promise<void> {
  const version = await requireVersion(ctx.db, input.model, input.version);
  const golden = await findGoldenSet(ctx.db, version.poolSha256);
  assert(golden !== undefined, "a version is stored together with its golden set");
  const recipes = await missingRecipes(ctx, input);
  if (recipes.length === 0) return;
  const scratchDir = join(ctx.config.dataDir, "scratch", `${input.model}-${input.version}`);
  await ctx.files.makeDirectory(scratchDir);
  try {
    const order = workOrder(ctx, { version, golden, recipes, scratchDir });
    await superviseWorker(ctx, {
      order,
      timeoutMs: ctx.config.jobTimeoutMs,
      signal,
      onProgress,
      onResult: (result) =>
        storeVariant(ctx, {
          version,
          golden,
          recipe: recipes.find(({ name }) => name === result.recipe),
          result,
        }),
    });
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

function workOrder(
  ctx: ControllerContext,
  job: {
    version: StoredVersion;
    golden: StoredGoldenSet;
    recipes: readonly Recipe[];
    scratchDir: string;
  },
): WorkOrder {
  const { version, golden, recipes, scratchDir } = job;
  return {
    sourcePath: ctx.blobs.path(version.sourceSha256),
    interface: version.interface,
    assetPaths: assetPaths(ctx, version.assets),
    goldenFiles: Object.fromEntries(
      Object.entries(golden.files).map(([name, sha256]) => [name, ctx.blobs.path(sha256)]),
    ),
    goldenManifest: golden.manifest,
    split: golden.split,
    recipesYaml: stringify({ recipes }),
    memoryBytesMax: ctx.config.jobMemoryBytesMax,
    scratchDir,
    calibrationDir: join(ctx.config.dataDir, "calibration"),
    foretellBound: {
      samplesMax: ctx.config.foretellSamplesMax,
      timeMaxMs: ctx.config.foretellTimeMaxMs,
    },
  };
}

interface MadeVariant {
  readonly version: StoredVersion;
  readonly golden: StoredGoldenSet;
  readonly recipe: Recipe | undefined;
  readonly result: WorkResult;
}

/** Files first, then all rows that name them in one transaction. */
async function storeVariant(ctx: ControllerContext, made: MadeVariant): Promise<void> {
  const { version, recipe, result } = made;
  assert(recipe !== undefined, `the worker answers for ${result.recipe}, which was not asked for`);
  const recipeSha256 = recipeHash(recipe);
  const nowMs = ctx.clock.wallMs();
  const base = {
    id: `${version.model}/${version.version}/${result.recipe}`,
    model: version.model,
    version: version.version,
    recipe: result.recipe,
    recipeSha256,
    status: result.status,
    reason: result.status === "ready" ? null : result.reason,
    createdAtMs: nowMs,
  };
  const stored =
    result.status === "ready" ? await storeFiles(ctx, { ...made, result, recipeSha256 }) : nothing;
  const row: VariantTable = { ...base, ...stored.columns };
  await ctx.db.transaction().execute(async (trx) => {
    await trx
      .insertInto("variants")
      .values(row)
      .onConflict((conflict) => conflict.columns(["model", "version", "recipe"]).doUpdateSet(row))
      .execute();
    await insertReferences(trx, stored.references);
    await recordBlobs(trx, [...stored.blobs, ...stored.references], nowMs);
  });
}

type FileColumns = Pick<
  VariantTable,
  | "bundleSha256"
  | "bundleBytes"
  | "modelSha256"
  | "modelBytes"
  | "opset"
  | "evaluationJson"
  | "shapesJson"
>;

interface StoredFiles {
  readonly columns: FileColumns;
  readonly blobs: readonly StoredBlob[];
  readonly references: readonly ReferenceTable[];
}

const nothing: StoredFiles = {
  columns: {
    bundleSha256: null,
    bundleBytes: null,
    modelSha256: null,
    modelBytes: null,
    opset: null,
    evaluationJson: null,
    shapesJson: null,
  },
  blobs: [],
  references: [],
};

async function storeFiles(
  ctx: ControllerContext,
  made: MadeVariant & { result: Ready; recipeSha256: string },
): Promise<StoredFiles> {
  const { version, golden, result } = made;
  const modelBytes = result.modelBytes.byteLength;
  const modelSha256 = await ctx.blobs.put(result.modelBytes);
  const descriptor = bundleOf(
    {
      model: version.model,
      version: version.version,
      interface: version.interface,
      assets: version.assets,
      sourceSha256: version.sourceSha256,
      recipe: result.recipe,
      recipeSha256: made.recipeSha256,
      seed: golden.split.seed,
      runtime: ctx.config.onnxruntime,
      cpuFlags: await readIsa(ctx.files),
    },
    { sha256: modelSha256, bytes: modelBytes },
  );
  const bundle = encodeBundle(descriptor);
  const bundleBytes = bundle.bytes.byteLength;
  await ctx.blobs.put(bundle.bytes);
  return {
    columns: {
      bundleSha256: bundle.sha256,
      bundleBytes,
      modelSha256,
      modelBytes,
      opset: result.opset,
      evaluationJson: JSON.stringify(evaluationOf(result)),
      shapesJson: result.shapes === null ? null : JSON.stringify(result.shapes),
    },
    blobs: [
      { sha256: modelSha256, bytes: modelBytes },
      { sha256: bundle.sha256, bytes: bundleBytes },
    ],
    references: await storeReferences(ctx, golden, bundle.sha256, result),
  };
}

/** The variant's own answers on each shard: what a device must reproduce. */
async function storeReferences(
  ctx: ControllerContext,
  golden: StoredGoldenSet,
  bundleSha256: string,
  { top1, losses }: Ready,
): Promise<ReferenceTable[]> {
  const { seed, sizes } = golden.split;
  const split = splitPool({ count: golden.samples, metric: golden.metric }, seed, sizes);
  const references: ReferenceTable[] = [];
  for (const { shardIndex, sha256: shardSha256 } of await listShards(ctx.db, golden.poolSha256)) {
    const indices = split.shards[shardIndex];
    assert(indices !== undefined, "a stored split repeats its shards");
    const pick = (values: ArrayLike<number>) => Array.from(indices, (index) => values[index]!);
    const bytes = encodeReference({
      bundleSha256,
      shardSha256,
      top1: pick(top1),
      ...(losses !== null && { losses: pick(losses) }),
    });
    const sha256 = await ctx.blobs.put(bytes);
    references.push({ bundleSha256, shardSha256, sha256, bytes: bytes.byteLength });
  }
  return references;
}

async function insertReferences(
  trx: Database,
  references: readonly ReferenceTable[],
): Promise<void> {
  for (const row of references) {
    await trx
      .insertInto("referenceOutputs")
      .values(row)
      .onConflict((conflict) => conflict.columns(["bundleSha256", "shardSha256"]).doUpdateSet(row))
      .execute();
  }
}
