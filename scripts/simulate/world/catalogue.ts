/**
 * What an operator would have brought about before a rollout: classes, a golden set in shards, and for
 * each version of the model one compressed and chosen variant. Written straight into the controller's
 * database and blobs, since compression is no part of what is simulated.
 */

import { readFileSync } from "node:fs";
import type { ControllerContext } from "../../../controller/context.ts";
import { encodeBundle } from "../../../shared/artifact/bundle.ts";
import { sha256Hex } from "../../../shared/artifact/hash.ts";
import type { GoldenSet } from "../../../shared/evaluation/golden-set.ts";
import { encodeReference, encodeShard } from "../../../shared/evaluation/golden-shard.ts";
import { bytesInMemory } from "../../../shared/ports/byte-source.ts";
import { type Disk, putFile } from "./disk.ts";
import { configDir, runtimeVersion } from "./programs.ts";
import {
  classOf,
  encodeSynthetic,
  type SyntheticModel,
  sampleAt,
  sampleSet,
  samplesOf,
  syntheticInterface,
} from "./synthetic-model.ts";

export const modelName = "synthetic";
export const className = "device";
const recipe = "none";
/** Every device of the class may take this much memory for a runner. */
const ramPeakBytesMax = 100_000_000;
const shardSeed = 1_000;

const classesYaml = `classes:
  - name: ${className}
    summary: any simulated device
    match: {}
    budget: { ramPeakBytesMax: ${ramPeakBytesMax}, metricFloor: 0.5 }
    recipes: [${recipe}]
    objective: size
`;
const builtIn = (name: string) =>
  readFileSync(new URL(`../../../controller/${name}`, import.meta.url), "utf8");

/** The operator's folder: text by file name. */
export const operatorFiles = () => ({
  "classes.yaml": classesYaml,
  "regions.yaml": builtIn("config/regions.yaml"),
  "recipes.yaml": builtIn("compress/recipes.yaml"),
});

/** Writes it to the controller's disk, before its first start. */
export function writeConfig(disk: Disk): void {
  for (const [name, text] of Object.entries(operatorFiles()))
    putFile(disk, `${configDir}/${name}`, text);
}

const hashOf = (text: string) => sha256Hex(new TextEncoder().encode(text));
const poolSha256 = hashOf("pool");

/** The pool that every version is proved on. */
export interface Pool {
  readonly shards: number;
  readonly shardSamples: number;
}

export async function addShards(
  ctx: ControllerContext,
  { shards, shardSamples }: Pool,
): Promise<void> {
  const identity = Uint32Array.from({ length: shardSamples }, (_, index) => index);
  for (let shardIndex = 0; shardIndex < shards; shardIndex++) {
    const bytes = encodeShard(shardSet(shardIndex, shardSamples), identity, shardIndex);
    await ctx.db
      .insertInto("goldenShards")
      .values({
        poolSha256,
        shardIndex,
        sha256: await ctx.blobs.put(bytes),
        bytes: bytes.byteLength,
      })
      .execute();
  }
}

function shardSet(shardIndex: number, shardSamples: number): GoldenSet {
  const set = sampleSet(shardSeed + shardIndex, shardSamples);
  const { x } = samplesOf(set);
  return {
    name: "noise",
    metric: "top-1",
    poolSha256,
    count: shardSamples,
    inputs: { x: { ...x, data: bytesInMemory(x.data) } },
    labels: Int32Array.from(set.labels),
    targets: [],
    scale: 1,
    regionSlice: undefined,
  };
}

export interface Version {
  readonly version: string;
  readonly bundleSha256: string;
  readonly model: SyntheticModel;
}

/** Stores one version as one chosen variant, with the reference outputs on every shard. */
export async function addVersion(
  ctx: ControllerContext,
  version: string,
  model: SyntheticModel,
  { modelBytes, shardSamples }: { modelBytes: number; shardSamples: number },
): Promise<Version> {
  const { db, blobs } = ctx;
  const sourceSha256 = hashOf(version);
  await db
    .insertInto("modelVersions")
    .values({
      model: modelName,
      version,
      sourceSha256,
      sourceBytes: modelBytes,
      interfaceJson: JSON.stringify(syntheticInterface),
      poolSha256,
      createdAtMs: 0,
    })
    .execute();
  const file = encodeSynthetic(model, modelBytes);
  const sha256 = await blobs.put(file);
  const bundle = encodeBundle({
    schema: "fleetfit/bundle/1",
    model: modelName,
    version,
    files: [{ role: "model", name: "model.onnx", sha256, bytes: file.byteLength }],
    interface: syntheticInterface,
    thresholds: {},
    provenance: {
      sourceSha256,
      recipe,
      recipeSha256: hashOf(recipe),
      seed: 1,
      runtime: runtimeVersion,
      cpuFlags: [],
    },
  });
  await blobs.put(bundle.bytes);
  await addVariant(ctx, { version, bundle, modelSha256: sha256, modelBytes });
  await addReferences(ctx, { bundleSha256: bundle.sha256, model, shardSamples });
  return { version, bundleSha256: bundle.sha256, model };
}

async function addVariant(
  { db }: ControllerContext,
  variant: {
    version: string;
    bundle: ReturnType<typeof encodeBundle>;
    modelSha256: string;
    modelBytes: number;
  },
): Promise<void> {
  const { version, bundle, modelSha256, modelBytes } = variant;
  await db
    .insertInto("variants")
    .values({
      id: `${modelName}-${version}`,
      model: modelName,
      version,
      recipe,
      recipeSha256: hashOf(recipe),
      status: "ready",
      reason: null,
      bundleSha256: bundle.sha256,
      bundleBytes: bundle.bytes.byteLength,
      modelSha256,
      modelBytes,
      opset: 13,
      evaluationJson: null,
      createdAtMs: 0,
    })
    .execute();
  await db
    .insertInto("choices")
    .values({
      model: modelName,
      version,
      deviceClass: className,
      bundleSha256: bundle.sha256,
      recipe,
      reasonsJson: "[]",
      emulated: 0,
      createdAtMs: 0,
    })
    .execute();
}

async function addReferences(
  { db, blobs }: ControllerContext,
  {
    bundleSha256,
    model,
    shardSamples,
  }: { bundleSha256: string; model: SyntheticModel; shardSamples: number },
): Promise<void> {
  const shards = await db.selectFrom("goldenShards").selectAll().execute();
  for (const { shardIndex, sha256: shardSha256 } of shards) {
    const { data } = sampleSet(shardSeed + shardIndex, shardSamples);
    const top1 = Array.from({ length: shardSamples }, (_, at) =>
      classOf(model, sampleAt(data, at)),
    );
    const bytes = encodeReference({ bundleSha256, shardSha256, top1 });
    const sha256 = await blobs.put(bytes);
    await db
      .insertInto("referenceOutputs")
      .values({ bundleSha256, shardSha256, sha256, bytes: bytes.byteLength })
      .execute();
  }
}
