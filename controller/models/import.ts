/**
 * Takes in one version of a model with its golden set. Everything is checked before anything but the
 * uploaded files is stored: a refused import leaves no model, version or golden set behind.
 */
import {
  type InputSpec,
  type ModelInterface,
  modelInterfaceSchema,
} from "../../shared/artifact/bundle.ts";
import { FleetError } from "../../shared/errors.ts";
import {
  buildGoldenSet,
  type GoldenManifest,
  type GoldenSet,
  goldenFileNames,
  goldenSampleBytes,
  parseGoldenManifest,
} from "../../shared/evaluation/golden-set.ts";
import { encodeShard } from "../../shared/evaluation/golden-shard.ts";
import { splitPool, splitSizes } from "../../shared/evaluation/golden-split.ts";
import { prepareSample } from "../../shared/inference/processing/registry.ts";
import type { ControllerContext } from "../context.ts";
import { checkModel } from "../onnx/checker.ts";
import type { Graph } from "../onnx/graph.ts";
import { Model } from "../onnx/model.ts";
import { recordEvent } from "../storage/events/repository.ts";

export interface ImportOrder {
  readonly model: string;
  readonly version: string;
  readonly sourceSha256: string;
  /** Uploaded files of the golden set, by name, and which of them is the manifest. */
  readonly golden: { readonly manifest: string; readonly files: Readonly<Record<string, string>> };
  readonly interface?: ModelInterface | undefined;
}

/** Seed of every split; the split is stored, so changing this touches new pools only. */
export const splitSeed = 20_260_301;

/**
 * Errors: those of the ONNX codec and checker, `golden-invalid`, `golden-mismatch`, `conflict` when the
 * version exists with another source, `artifact-missing`.
 */
export async function importVersion(
  ctx: ControllerContext,
  order: ImportOrder,
): Promise<{ poolSha256: string }> {
  const sourceBytes = await ctx.blobs.read(order.sourceSha256);
  const model = Model.decode(sourceBytes);
  checkModel(model.toProto());
  const { manifest, set, files } = await readGolden(ctx, order.golden);
  const modelInterface = order.interface ?? defaultInterface(model.graph, set);
  checkFit(model.graph, modelInterface, set);
  await storeGoldenSet(ctx, set, manifest, files);
  const nowMs = ctx.clock.wallMs();
  await ctx.db.transaction().execute(async (trx) => {
    await trx
      .insertInto("models")
      .values({ name: order.model, createdAtMs: nowMs })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
    const existing = await trx
      .selectFrom("modelVersions")
      .select("sourceSha256")
      .where("model", "=", order.model)
      .where("version", "=", order.version)
      .executeTakeFirst();
    if (existing !== undefined) {
      if (existing.sourceSha256 === order.sourceSha256) return;
      throw new FleetError(
        "conflict",
        `${order.model} ${order.version} exists with another file: use a new version name`,
      );
    }
    await trx
      .insertInto("modelVersions")
      .values({
        model: order.model,
        version: order.version,
        sourceSha256: order.sourceSha256,
        sourceBytes: sourceBytes.byteLength,
        interfaceJson: JSON.stringify(modelInterface),
        poolSha256: set.poolSha256,
        createdAtMs: nowMs,
      })
      .execute();
    const message = `${sourceBytes.byteLength} bytes, golden set ${set.name} of ${set.count} samples`;
    await recordEvent(trx, {
      atMs: nowMs,
      kind: "version-imported",
      subject: `${order.model} ${order.version}`,
      message,
    });
  });
  return { poolSha256: set.poolSha256 };
}

async function readGolden(
  ctx: ControllerContext,
  golden: ImportOrder["golden"],
): Promise<{ manifest: GoldenManifest; set: GoldenSet; files: Record<string, string> }> {
  const blobOf = (name: string) => {
    const sha256 = golden.files[name];
    if (sha256 === undefined)
      throw new FleetError("golden-invalid", `golden set: ${name} was not uploaded`);
    return sha256;
  };
  const manifest = parseGoldenManifest(await ctx.blobs.read(blobOf(golden.manifest)));
  const names = goldenFileNames(manifest);
  const bytes = new Map<string, Uint8Array>();
  for (const name of names) bytes.set(name, await ctx.blobs.read(blobOf(name)));
  const files = Object.fromEntries([golden.manifest, ...names].map((name) => [name, blobOf(name)]));
  return {
    manifest,
    set: buildGoldenSet(manifest, bytes),
    files: { ...files, "": golden.manifest },
  };
}

/** Samples as they are, cast to float32 where the model takes it; outputs as they come. */
function defaultInterface(graph: Graph, set: GoldenSet): ModelInterface {
  const inputs = Object.entries(set.inputs).map(([tensor, { dtype, shape }]): InputSpec => {
    const wanted = graph.declaredType(tensor);
    const cast = wanted === "float32" && dtype !== "float32";
    return {
      tensor,
      sample: { dtype, shape: [...shape] },
      steps: cast ? [{ op: "cast", to: "float32" }] : [],
    };
  });
  return modelInterfaceSchema.parse({
    inputs,
    output: { kind: "tensors", tensors: graph.outputNames },
  });
}

function checkFit(graph: Graph, spec: ModelInterface, set: GoldenSet): void {
  const mismatch = (why: string) => new FleetError("golden-mismatch", why);
  for (const input of spec.inputs) {
    const golden = set.inputs[input.tensor];
    if (golden === undefined) throw mismatch(`the golden set has no input named ${input.tensor}`);
    if (golden.dtype !== input.sample.dtype || `${golden.shape}` !== `${input.sample.shape}`) {
      throw mismatch(
        `golden input ${input.tensor} is ${golden.dtype} [${golden.shape}], the interface says ${input.sample.dtype} [${input.sample.shape}]`,
      );
    }
    checkShape(
      graph,
      input,
      prepareSample(input, golden.data.subarray(0, goldenSampleBytes(golden))),
    );
  }
  const { output } = spec;
  const tensors = output.kind === "classification" ? [output.tensor] : output.tensors;
  for (const tensor of tensors) {
    if (!graph.outputNames.includes(tensor))
      throw mismatch(`the model has no output named ${tensor}`);
  }
  if (set.metric !== "top-1") return;
  if (output.kind !== "classification")
    throw mismatch("metric top-1 needs an output of kind classification");
  if (set.labels.some((label) => label >= output.labels.length)) {
    throw new FleetError(
      "golden-invalid",
      `a label is beyond the ${output.labels.length} labels of the model`,
    );
  }
}

/** The prepared sample must be what the model declares, with or without a batch axis in front. */
function checkShape(
  graph: Graph,
  input: InputSpec,
  sample: { dtype: string; shape: readonly number[] },
): void {
  if (!graph.inputNames.includes(input.tensor)) {
    throw new FleetError("golden-mismatch", `the model has no input named ${input.tensor}`);
  }
  const type = graph.declaredType(input.tensor);
  const declared = graph.declaredShape(input.tensor);
  if (type !== undefined && type !== sample.dtype) {
    throw new FleetError(
      "golden-mismatch",
      `input ${input.tensor} takes ${type}, the sample becomes ${sample.dtype}`,
    );
  }
  if (declared === undefined) return;
  const shape = declared.length === sample.shape.length ? sample.shape : [1, ...sample.shape];
  const fits =
    declared.length === shape.length &&
    declared.every((size, axis) => typeof size !== "number" || size <= 0 || size === shape[axis]);
  if (!fits) {
    throw new FleetError(
      "golden-mismatch",
      `input ${input.tensor} takes [${declared}], the sample becomes [${shape}]`,
    );
  }
}

async function storeGoldenSet(
  ctx: ControllerContext,
  set: GoldenSet,
  manifest: GoldenManifest,
  files: Record<string, string>,
): Promise<void> {
  const { poolSha256 } = set;
  const known = await ctx.db
    .selectFrom("goldenSets")
    .select("poolSha256")
    .where("poolSha256", "=", poolSha256)
    .executeTakeFirst();
  if (known !== undefined) return;
  const sharded = manifest.metric.name === "top-1";
  const split = sharded ? splitPool(set.count, splitSeed) : undefined;
  const shards: { shardIndex: number; sha256: string; bytes: number }[] = [];
  for (const [shardIndex, indices] of (split?.shards ?? []).entries()) {
    const bytes = encodeShard(set, indices, shardIndex);
    shards.push({ shardIndex, sha256: await ctx.blobs.put(bytes), bytes: bytes.byteLength });
  }
  await ctx.db.transaction().execute(async (trx) => {
    await trx
      .insertInto("goldenSets")
      .values({
        poolSha256,
        name: set.name,
        samples: set.count,
        metric: set.metric,
        filesJson: JSON.stringify(files),
        splitJson: JSON.stringify({ seed: splitSeed, ...(sharded ? splitSizes(set.count) : {}) }),
        createdAtMs: ctx.clock.wallMs(),
      })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
    for (const shard of shards) {
      await trx
        .insertInto("goldenShards")
        .values({ poolSha256, ...shard })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
    }
  });
}
