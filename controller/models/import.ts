/**
 * Takes in one version of a model with its golden set. Everything is checked first: structure of the
 * file, weights, inputs against samples, one inference in a child process. Only then is anything
 * stored, in one transaction.
 */
import { assetNames, type ModelInterface } from "../../shared/artifact/bundle.ts";
import { FleetError, isFleetError } from "../../shared/errors.ts";
import { type GoldenSet, takeSamples } from "../../shared/evaluation/golden-set.ts";
import { encodeShard } from "../../shared/evaluation/golden-shard.ts";
import { splitPool, splitSizes } from "../../shared/evaluation/golden-split.ts";
import { tokenizerBytesMax } from "../../shared/inference/processing/tokenizer-file.ts";
import { startRunner } from "../../shared/inference/runner.ts";
import { type ByteSource, bytesInMemory } from "../../shared/ports/byte-source.ts";
import type { ControllerContext } from "../context.ts";
import { recordBlobs } from "../storage/blobs/repository.ts";
import { recordEvent } from "../storage/events/repository.ts";
import { findGoldenSet, insertGoldenSet, type StoredShard } from "../storage/golden/repository.ts";
import { findVersion, insertVersion, type StoredVersion } from "../storage/models/repository.ts";
import { type GoldenFiles, readGoldenSet } from "./golden.ts";
import { checkedInterface } from "./interface.ts";

/** Seed of new splits. Each golden set keeps the one it was split with. */
export const splitSeed = 20_260_301;

/** Longest ONNX file, in bytes: 2 GiB is where protobuf ends; models for devices are far below. */
export const sourceBytesMax = 2 ** 30;

export type ImportContext = Pick<ControllerContext, "db" | "blobs" | "clock" | "processes">;

export interface NewVersion {
  readonly model: string;
  readonly version: string;
  readonly sourceSha256: string;
  readonly golden: GoldenFiles;
  readonly interface?: ModelInterface | undefined;
  /** Blob hash of each file that the interface reads, by its name. */
  readonly assets?: Readonly<Record<string, string>> | undefined;
}

/**
 * Importing the same again changes nothing. Errors: those of the codec and checker, `golden-invalid`,
 * `golden-mismatch`, `artifact-missing`, `tokenizer-invalid`, `too-large`, `conflict` when the version
 * holds something else.
 */
export async function importVersion(
  ctx: ImportContext,
  wanted: NewVersion,
): Promise<StoredVersion> {
  const source = await ctx.blobs.read(wanted.sourceSha256, { maxBytes: sourceBytesMax });
  const golden = await readGoldenSet(ctx.blobs, wanted.golden);
  const assets = await readAssets(ctx, wanted);
  const modelInterface = checkedInterface(
    source,
    golden,
    wanted.interface,
    Object.fromEntries(assets.map(({ name, content }) => [name, content])),
  );

  const version: StoredVersion = {
    model: wanted.model,
    version: wanted.version,
    sourceSha256: wanted.sourceSha256,
    sourceBytes: source.byteLength,
    interface: modelInterface,
    assets: assets.map(({ name, sha256, content }) => ({
      name,
      sha256,
      bytes: content.byteLength,
    })),
    poolSha256: golden.poolSha256,
    createdAtMs: ctx.clock.wallMs(),
  };
  const existing = await findVersion(ctx.db, wanted.model, wanted.version);
  if (existing !== undefined) return sameVersion(existing, version);
  await tryFirstSample(ctx, version, golden);
  return store(ctx, version, golden, wanted.golden);
}

interface Asset {
  readonly name: string;
  readonly sha256: string;
  readonly content: ByteSource;
}

/** The uploaded files that the interface reads. Errors: `artifact-missing`, `too-large`. */
async function readAssets(ctx: ImportContext, wanted: NewVersion): Promise<Asset[]> {
  const assets: Asset[] = [];
  const sent = new Map(Object.entries(wanted.assets ?? {}));
  for (const name of assetNames(wanted.interface ?? { inputs: [] })) {
    const sha256 = sent.get(name);
    if (sha256 === undefined) {
      throw new FleetError("artifact-missing", `the interface reads ${name}, which was not sent`);
    }
    const bytes = await ctx.blobs.read(sha256, { maxBytes: tokenizerBytesMax });
    assets.push({ name, sha256, content: bytesInMemory(bytes) });
  }
  return assets;
}

function sameVersion(existing: StoredVersion, wanted: StoredVersion): StoredVersion {
  const key = (version: StoredVersion) =>
    JSON.stringify([version.sourceSha256, version.poolSha256, version.interface, version.assets]);
  if (key(existing) === key(wanted)) return existing;
  throw new FleetError(
    "conflict",
    `version ${wanted.version} of ${wanted.model} exists and holds something else; choose another name`,
  );
}

/** One inference by onnxruntime; whatever the checks on paper missed shows here. */
async function tryFirstSample(
  ctx: ImportContext,
  { sourceSha256, interface: modelInterface, assets }: StoredVersion,
  golden: GoldenSet,
): Promise<void> {
  const runner = await startRunner({
    processes: ctx.processes,
    clock: ctx.clock,
    modelPath: ctx.blobs.path(sourceSha256),
    interface: modelInterface,
    assetPaths: assetPaths(ctx, assets),
  });
  try {
    const samples = takeSamples(golden, [0]);
    await runner.infer(
      Object.fromEntries(Object.entries(samples).map(([name, { data }]) => [name, data])),
    );
  } catch (cause) {
    if (!isFleetError(cause, "onnx-unsupported")) throw cause;
    throw new FleetError(
      "golden-mismatch",
      `onnxruntime cannot run the model on the golden set's first sample: ${cause.message}`,
      { cause },
    );
  } finally {
    await runner.close();
  }
}

/** Where the assets of a version lie, by name. */
export function assetPaths(
  { blobs }: Pick<ControllerContext, "blobs">,
  assets: StoredVersion["assets"],
): Record<string, string> {
  return Object.fromEntries(assets.map(({ name, sha256 }) => [name, blobs.path(sha256)]));
}

async function store(
  ctx: ImportContext,
  version: StoredVersion,
  golden: GoldenSet,
  files: GoldenFiles,
): Promise<StoredVersion> {
  const { poolSha256 } = golden;
  const nowMs = version.createdAtMs;
  const known = await findGoldenSet(ctx.db, poolSha256);
  const shards = known === undefined ? await writeShards(ctx, golden) : [];
  return ctx.db.transaction().execute(async (trx) => {
    // Another import of the same name may have ended while this one was checking.
    const existing = await findVersion(trx, version.model, version.version);
    if (existing !== undefined) return sameVersion(existing, version);
    const { sourceSha256, sourceBytes, assets } = version;
    await recordBlobs(trx, [{ sha256: sourceSha256, bytes: sourceBytes }, ...assets], nowMs);
    await insertGoldenSet(
      trx,
      {
        poolSha256,
        name: golden.name,
        samples: golden.count,
        metric: golden.metric,
        manifest: files.manifest,
        files: files.files,
        split: { seed: splitSeed, sizes: splitSizes(golden) },
        createdAtMs: nowMs,
      },
      shards,
    );
    await insertVersion(trx, version);
    await recordEvent(trx, {
      atMs: nowMs,
      kind: "version-imported",
      subject: version.model,
      message: `version ${version.version}, ${version.sourceBytes} bytes, golden set of ${golden.count} samples`,
      data: { version: version.version, sourceSha256: version.sourceSha256, poolSha256 },
    });
    return version;
  });
}

/** Errors: `golden-invalid` when the set is too small to split. */
async function writeShards(ctx: ImportContext, golden: GoldenSet): Promise<StoredShard[]> {
  const { shards } = splitPool(golden, splitSeed);
  const stored: StoredShard[] = [];
  for (const [shardIndex, indices] of shards.entries()) {
    const bytes = encodeShard(golden, indices, shardIndex);
    stored.push({ shardIndex, sha256: await ctx.blobs.put(bytes), bytes: bytes.byteLength });
  }
  return stored;
}
