/** One real controller with two tiny models ready, and a way to offer any manifest to a device. */
import { join } from "node:path";
import type { ControllerContext } from "../../controller/context.ts";
import type { RunningController } from "../../controller/controller.ts";
import { publishDesired, raiseDesiredRevision } from "../../controller/fleet/desired.ts";
import { runCompress } from "../../controller/jobs/compress-job.ts";
import { importVersion } from "../../controller/models/import.ts";
import { signRelease } from "../../controller/rollout/release.ts";
import { createClaim } from "../../controller/trust/claims.ts";
import type { Manifest } from "../../shared/artifact/manifest.ts";
import { type KeyPair, type Signed, signDocument } from "../../shared/artifact/signature.ts";
import { tinyGolden, tinyInterface, tinyModelBytes } from "./tiny-classifier.ts";
import { until } from "./until.ts";

/** Imports and compresses the tiny classifier; answers the bundle of its clean variant. */
export async function prepareTinyModel(
  ctx: ControllerContext,
  model: string,
  version: string,
  modelBytes = tinyModelBytes(),
): Promise<string> {
  const files: Record<string, string> = {};
  for (const [name, bytes] of Object.entries(tinyGolden()))
    files[name] = await ctx.blobs.put(bytes);
  await importVersion(ctx, {
    model,
    version,
    sourceSha256: await ctx.blobs.put(modelBytes),
    golden: { manifest: "golden.json", files },
    interface: tinyInterface,
  });
  const input = { model, version, recipes: ["fp32-clean"] };
  await runCompress(ctx, input, new AbortController().signal, async () => {});
  const row = await ctx.db
    .selectFrom("variants")
    .select("bundleSha256")
    .where("model", "=", model)
    .where("version", "=", version)
    .executeTakeFirstOrThrow();
  return row.bundleSha256 ?? "";
}

/** The tiny classifier as a version that a rollout may start with; answers its bundle. */
export async function prepareChoice(
  ctx: ControllerContext,
  options: {
    model: string;
    version: string;
    deviceClass: string;
    modelBytes?: Uint8Array<ArrayBuffer>;
  },
): Promise<string> {
  const { model, version, deviceClass } = options;
  const bundleSha256 = await prepareTinyModel(ctx, model, version, options.modelBytes);
  await ctx.db
    .insertInto("choices")
    .values({
      model,
      version,
      deviceClass,
      recipe: "fp32-clean",
      bundleSha256,
      emulated: 0,
      reasonsJson: "[]",
      createdAtMs: 0,
    })
    .execute();
  return bundleSha256;
}

export async function claimFor(
  ctx: ControllerContext,
  device: string,
  ttlMs?: number,
): Promise<string> {
  return (await createClaim(ctx, { device, region: "eu-west", labels: {}, ttlMs })).token;
}

/** A manifest as the controller would sign it, changed, and signed again with `key`. */
export async function changedManifest(
  ctx: ControllerContext,
  target: { device: string; bundleSha256: string; releaseCounter: number },
  change: Partial<Manifest> = {},
  key: KeyPair = ctx.signingKey,
): Promise<Signed> {
  const deviceClass = ctx.fleet.classes[0]!;
  const { signed } = await signRelease(ctx, ctx.db, {
    ...target,
    deviceClass: { ...deviceClass, budget: { metricFloor: 0 } },
    purpose: "release",
    choiceEmulated: false,
  });
  return signDocument({ ...signed, ...change }, key);
}

/** Names the attempt in the device's wanted state and waits for its outcome. */
export async function offer(
  controller: RunningController,
  options: { attempt: string; device: string; model: string; manifest: Signed },
) {
  const { ctx } = controller;
  const { attempt, device, model } = options;
  await ctx.db.transaction().execute(async (trx) => {
    await trx
      .insertInto("attempts")
      .values({
        id: attempt,
        rollout: `r-${attempt}`,
        device,
        retry: 0,
        model,
        version: "1",
        recipe: "fp32-clean",
        stage: 0,
        arm: "canary",
        bundleSha256: "",
        releaseCounter: 0,
        manifestJson: JSON.stringify(options.manifest),
        status: "offered",
        outcome: null,
        code: null,
        why: null,
        gatesJson: null,
        servingSha256: null,
        createdAtMs: 0,
        decidedAtMs: null,
      })
      .execute();
    await trx
      .insertInto("desiredModels")
      .values({ device, model, attempt })
      .onConflict((conflict) => conflict.columns(["device", "model"]).doUpdateSet({ attempt }))
      .execute();
    await raiseDesiredRevision(trx, [device]);
  });
  await publishDesired(ctx, [device]);
  return outcomeOf(controller, attempt);
}

export function outcomeOf({ ctx }: RunningController, attempt: string) {
  return until(`the outcome of ${attempt}`, async () => {
    const row = await ctx.db
      .selectFrom("attempts")
      .select(["outcome", "code", "why", "servingSha256"])
      .where("id", "=", attempt)
      .executeTakeFirstOrThrow();
    return row.outcome === null ? undefined : row;
  });
}

export const deviceDir = (folder: string, device: string) => join(folder, device);
