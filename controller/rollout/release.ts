/** Makes and signs the manifest that lets one device try one bundle. */
import {
  assetNames,
  type Bundle,
  bundleDescriptorBytesMax,
  decodeBundle,
} from "../../shared/artifact/bundle.ts";
import { type Manifest, signManifest } from "../../shared/artifact/manifest.ts";
import type { Signed } from "../../shared/artifact/signature.ts";
import { assert } from "../../shared/assert.ts";
import { FleetError } from "../../shared/errors.ts";
import { alphaOf } from "../../shared/evaluation/error-budget.ts";
import { isFirstFormat } from "../../shared/evaluation/golden-shard.ts";
import { type MetricName, metricNameSchema } from "../../shared/evaluation/metrics/registry.ts";
import type { ControllerContext } from "../context.ts";
import type { DeviceClass } from "../fleet/classes.ts";
import { installPolicyOf } from "../fleet/regions.ts";
import { soakOf } from "../soak/policy.ts";
import type { Database } from "../storage/database.ts";

/** Oldest agents that understand bundles, golden shards of the second format, and files of text models. */
const agentMin = { bundles: "0.1.0", secondShards: "0.2.0", assets: "0.3.0" };
/** Reference §3.7: a device rolls back on latency only above this ratio. */
const latencyRatioMax = 1.1;
/** Largest ratio that a manifest may hold, and an error probability at which no test ever rejects. */
const latencyRatioAny = 100;
const alphaNever = 1e-300;
/** Gate results that this controller reads; the manifest says so, and devices send no others. */
const gateVocabulary = 2;
/** Two points: what a rollout looks for by default (reference §2). */
const nonInferiorityMargin = 0.02;
/** Reference §2.1, gate 0. */
export const parityFlipFractionMax = 0.005;

export interface ReleaseTarget {
  readonly device: string;
  readonly deviceClass: Pick<DeviceClass, "name" | "budget">;
  readonly purpose: Manifest["purpose"];
  readonly releaseCounter: number;
  readonly bundleSha256: string;
  readonly choiceEmulated: boolean;
  /** It ran on the device before and comes back: what it replaces is no measure for it. */
  readonly returns?: boolean;
  /** Times after the commit at which it reports its signals. */
  readonly horizonsMs?: readonly number[];
}

/** Errors: `not-found`, `artifact-missing`. */
export async function signRelease(
  ctx: ControllerContext,
  trx: Database,
  target: ReleaseTarget,
): Promise<Signed> {
  const variant = await trx
    .selectFrom("variants")
    .innerJoin("modelVersions", (join) =>
      join
        .onRef("modelVersions.model", "=", "variants.model")
        .onRef("modelVersions.version", "=", "variants.version"),
    )
    .leftJoin("goldenSets", "goldenSets.poolSha256", "modelVersions.poolSha256")
    .selectAll("variants")
    .select(["modelVersions.poolSha256", "goldenSets.metric"])
    .where("bundleSha256", "=", target.bundleSha256)
    .executeTakeFirst();
  if (variant === undefined)
    throw new FleetError("not-found", `no variant has bundle ${target.bundleSha256}`);
  const bytes = await ctx.blobs.read(target.bundleSha256, { maxBytes: bundleDescriptorBytesMax });
  const bundle = decodeBundle(bytes, target.bundleSha256);
  const golden = await goldenProof(ctx, trx, { ...target, poolSha256: variant.poolSha256 });
  const placed = await trx
    .selectFrom("devices")
    .select("region")
    .where("id", "=", target.device)
    .executeTakeFirst();
  const nowMs = ctx.clock.wallMs();
  assert(variant.opset !== null, "a ready variant has an opset");
  return signManifest(
    {
      schema: "fleetfit/manifest/1",
      tenant: ctx.config.tenant,
      device: target.device,
      purpose: target.purpose,
      model: variant.model,
      version: variant.version,
      recipe: variant.recipe,
      bundle: { sha256: target.bundleSha256, bytes: bytes.byteLength },
      filesBytes: bundle.files.reduce((sum, file) => sum + file.bytes, 0),
      releaseCounter: target.releaseCounter,
      runtime: target.returns === true ? anyRuntime : runtimeRange(bundle.provenance.runtime),
      opset: variant.opset,
      executionProvider: { name: "cpu", options: {} },
      deviceClass: target.deviceClass.name,
      choiceEmulated: target.choiceEmulated,
      golden,
      gates: gatesOf(target, ctx.config.alphaDevice),
      install: installPolicyOf(ctx.fleet.regions, placed?.region),
      soak: soakFor(target, ctx.config.soakMs),
      agentMin: agentMinOf(bundle, metricNameSchema.parse(variant.metric ?? "agreement")),
      issuedAtMs: nowMs,
      expiresAtMs: nowMs + ctx.config.manifestTtlMs,
    },
    ctx.signingKey,
  );
}

function agentMinOf({ interface: spec }: Bundle, metric: MetricName): string {
  if (assetNames(spec).length > 0) return agentMin.assets;
  return isFirstFormat(metric) ? agentMin.bundles : agentMin.secondShards;
}

/** Nothing is watched of what is thrown away, nor of a return: its predecessor is what is left. */
function soakFor(target: ReleaseTarget, soakMs: number): Manifest["soak"] {
  const isWatched = target.purpose !== "measure" && target.returns !== true;
  return isWatched ? soakOf(soakMs, target.deviceClass.budget, target.horizonsMs ?? []) : null;
}

/**
 * What a device ran before comes back when it loads and computes what it should: no comparison, and no
 * floor or limit that the class got since, may keep it away. Agents before 0.2.0 do not know of parity
 * alone; for them the other gates are out of reach.
 */
function gatesOf(
  { deviceClass: { budget }, returns }: ReleaseTarget,
  alphaDevice: number,
): Manifest["gates"] {
  const unlimited = {
    metricFloor: 0,
    classFloor: null,
    sliceFloor: null,
    nonInferiorityMargin,
    latencyRatioMax: latencyRatioAny,
    latencyMsMax: null,
    energyRatioMax: null,
    ramPeakBytesMax: null,
    parityFlipFractionMax,
    onInconclusive: "commit" as const,
    vocabulary: gateVocabulary,
    parityOnlyAlpha: null,
    alphaDevice: alphaNever,
  };
  if (returns === true) return { ...unlimited, parityOnlyAlpha: alphaOf("parity", alphaDevice) };
  return {
    ...unlimited,
    metricFloor: budget.metricFloor,
    classFloor: budget.classFloor ?? null,
    sliceFloor: budget.sliceFloor ?? null,
    latencyRatioMax,
    latencyMsMax: budget.latencyMsMax ?? null,
    energyRatioMax: budget.energyRatioMax ?? null,
    onInconclusive: budget.onInconclusive ?? "commit",
    ramPeakBytesMax: budget.ramPeakBytesMax ?? null,
    alphaDevice,
  };
}

/** The runtime may be another since; parity tells whether that matters. */
const anyRuntime: Manifest["runtime"] = {
  onnxruntimeMin: "0.0.0",
  onnxruntimeMaxExclusive: "9999.0.0",
};

/** Variants are proved with one runtime; a new minor version has to be proved again. */
function runtimeRange(runtime: string): Manifest["runtime"] {
  const [major = 0, minor = 0] = runtime.split(".").map(Number);
  return { onnxruntimeMin: runtime, onnxruntimeMaxExclusive: `${major}.${minor + 1}.0` };
}

/**
 * The device's shard of the pool and the controller's answers on it. Devices get disjoint shards while
 * they last and keep theirs between versions; each use is recorded.
 */
async function goldenProof(
  ctx: ControllerContext,
  trx: Database,
  target: ReleaseTarget & { poolSha256: string },
): Promise<Manifest["golden"]> {
  const { poolSha256, bundleSha256, device } = target;
  const index = await shardIndexOf(trx, target);
  if (index === undefined) return [];
  const shard = await trx
    .selectFrom("goldenShards")
    .selectAll()
    .where("poolSha256", "=", poolSha256)
    .where("shardIndex", "=", index)
    .executeTakeFirst();
  assert(shard !== undefined, "shards are numbered without gaps");
  const reference = await trx
    .selectFrom("referenceOutputs")
    .selectAll()
    .where("bundleSha256", "=", bundleSha256)
    .where("shardSha256", "=", shard.sha256)
    .executeTakeFirst();
  if (reference === undefined) {
    throw new FleetError(
      "artifact-missing",
      `bundle ${bundleSha256} has no reference outputs on its shard`,
    );
  }
  await trx
    .insertInto("shardUses")
    .values({
      device,
      poolSha256,
      shardIndex: shard.shardIndex,
      bundleSha256,
      purpose: target.purpose,
      usedAtMs: ctx.clock.wallMs(),
    })
    .execute();
  return [
    {
      shard: { sha256: shard.sha256, bytes: shard.bytes },
      reference: { sha256: reference.sha256, bytes: reference.bytes },
    },
  ];
}

/** The shard that the device has, or the next one; undefined for a pool without any. */
async function shardIndexOf(
  trx: Database,
  { poolSha256, device }: { poolSha256: string; device: string },
): Promise<number | undefined> {
  const own = await trx
    .selectFrom("shardUses")
    .select("shardIndex")
    .where("poolSha256", "=", poolSha256)
    .where("device", "=", device)
    .orderBy("id")
    .executeTakeFirst();
  if (own !== undefined) return own.shardIndex;
  const { shards } = await trx
    .selectFrom("goldenShards")
    .select((eb) => eb.fn.countAll<number>().as("shards"))
    .where("poolSha256", "=", poolSha256)
    .executeTakeFirstOrThrow();
  const { devices } = await trx
    .selectFrom("shardUses")
    .select((eb) => eb.fn.count<number>("device").distinct().as("devices"))
    .where("poolSha256", "=", poolSha256)
    .executeTakeFirstOrThrow();
  return shards === 0 ? undefined : devices % shards;
}
