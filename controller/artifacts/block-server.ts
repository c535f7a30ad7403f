/**
 * Answers requests for artifact blocks. Only artifacts that a manifest or an order for this device leads to are
 * sent, and only while the device is in good standing.
 */
import { bundleDescriptorBytesMax, decodeBundle } from "../../shared/artifact/bundle.ts";
import { costOrderSchema } from "../../shared/artifact/cost-order.ts";
import { type Manifest, manifestSchema } from "../../shared/artifact/manifest.ts";
import { blockBytes } from "../../shared/protocol/messages/artifact-transfer.ts";
import type { PayloadOf } from "../../shared/protocol/registry.ts";
import type { ControllerContext } from "../context.ts";
import type { DirectHandler } from "../mqtt/handlers/handler.ts";
import { prepared } from "../storage/prepared.ts";

type Request = PayloadOf<"artifact-request">;

export const onArtifactRequest: DirectHandler<"artifact-request"> = async (
  ctx,
  { device },
  request,
) => {
  const { sha256 } = request;
  const totalBytes = await allowedBytes(ctx, device, sha256);
  if (totalBytes === undefined) {
    await ctx.publish("artifact-refused", device, {
      sha256,
      code: "artifact-missing",
      reason: "no manifest for this device leads to it",
    });
    return;
  }
  ctx.blockQueue.order(device, {
    sha256,
    blocks: wantedBlocks(request).filter((index) => index * blockBytes < totalBytes),
    bytesOf: (index) => Math.min(blockBytes, totalBytes - index * blockBytes),
    async send(index) {
      const range = { offset: index * blockBytes, length: blockBytes };
      const data = await ctx.blobs.readRange(sha256, range);
      await ctx.publish("artifact-block", device, { sha256, totalBytes, index, data });
    },
  });
};

function wantedBlocks({ firstBlock, missing }: Request): number[] {
  const wanted: number[] = [];
  for (let bit = 0; bit < missing.byteLength * 8; bit++) {
    if (((missing[bit >> 3]! >> (bit & 7)) & 1) === 1) wanted.push(firstBlock + bit);
  }
  return wanted;
}

/** Length of the artifact when this device may have it. */
async function allowedBytes(
  ctx: ControllerContext,
  device: string,
  sha256: string,
): Promise<number | undefined> {
  for (const find of [orderedManifests, measuredManifests]) {
    for (const manifest of await find(ctx, device)) {
      const bytes = await bytesIn(ctx, manifest, sha256);
      if (bytes !== undefined) return bytes;
    }
  }
  return probesBytes(ctx, device, sha256);
}

/** Length of the probes when the device was asked to time these. */
async function probesBytes(
  ctx: ControllerContext,
  device: string,
  sha256: string,
): Promise<number | undefined> {
  const rows = await ctx.db
    .selectFrom("costTables")
    .innerJoin("devices", "devices.id", "costTables.device")
    .select("orderJson")
    .where("costTables.device", "=", device)
    .where("costTables.status", "=", "wanted")
    .where("devices.standing", "=", "active")
    .execute();
  return rows
    .map(({ orderJson }) => costOrderSchema.parse(JSON.parse(orderJson).signed).probes)
    .find((probes) => probes.sha256 === sha256)?.bytes;
}

/** Length of the artifact when the manifest leads to it. */
async function bytesIn(
  ctx: ControllerContext,
  { bundle, golden }: Manifest,
  sha256: string,
): Promise<number | undefined> {
  const proofs = golden.flatMap(({ shard, reference }) => [shard, reference]);
  const direct = [bundle, ...proofs].find((ref) => ref.sha256 === sha256);
  if (direct !== undefined) return direct.bytes;
  const bytes = await ctx.blobs.read(bundle.sha256, { maxBytes: bundleDescriptorBytesMax });
  return decodeBundle(bytes, bundle.sha256).files.find((one) => one.sha256 === sha256)?.bytes;
}

const orderedRows = prepared((db, { device }: { device: string }) =>
  db
    .selectFrom("desiredModels")
    .innerJoin("attempts", "attempts.id", "desiredModels.attempt")
    .innerJoin("devices", "devices.id", "desiredModels.device")
    .select("manifestJson")
    .where("desiredModels.device", "=", device)
    .where("devices.standing", "=", "active"),
);

async function orderedManifests(ctx: ControllerContext, device: string): Promise<Manifest[]> {
  return (await orderedRows(ctx.db, { device })).rows.map(manifestOf);
}

async function measuredManifests(ctx: ControllerContext, device: string): Promise<Manifest[]> {
  const rows = await ctx.db
    .selectFrom("measurements")
    .innerJoin("devices", "devices.id", "measurements.device")
    .select("manifestJson")
    .where("measurements.device", "=", device)
    .where("measurements.status", "=", "wanted")
    .where("devices.standing", "=", "active")
    .execute();
  return rows.map(manifestOf);
}

const manifestOf = ({ manifestJson }: { manifestJson: string }): Manifest =>
  manifestSchema.parse((JSON.parse(manifestJson) as { signed: unknown }).signed);
