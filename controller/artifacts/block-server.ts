/**
 * Answers requests for artifact blocks, under one budget of bytes per second for all devices. Only
 * artifacts that a manifest for this device leads to are sent.
 *
 * Invariant: one request of a device is served at a time; a newer one replaces it, since it names
 * what is missing now.
 */
import { bundleDescriptorBytesMax, decodeBundle } from "../../shared/artifact/bundle.ts";
import { type Manifest, manifestSchema } from "../../shared/artifact/manifest.ts";
import { blockBytes } from "../../shared/protocol/messages/artifact-transfer.ts";
import type { PayloadOf } from "../../shared/protocol/registry.ts";
import type { ControllerContext } from "../context.ts";
import type { DirectHandler } from "../mqtt/handlers/handler.ts";

type Request = PayloadOf<"artifact-request">;

export const onArtifactRequest: DirectHandler<"artifact-request"> = async (
  ctx,
  { device },
  request,
) => {
  const totalBytes = await allowedBytes(ctx, device, request.sha256);
  if (totalBytes === undefined) {
    await ctx.publish("artifact-refused", device, {
      sha256: request.sha256,
      code: "artifact-missing",
      reason: "no manifest for this device leads to it",
    });
    return;
  }
  for (const index of wantedBlocks(request)) {
    const offset = index * blockBytes;
    if (offset >= totalBytes) break;
    const data = await ctx.blobs.readRange(request.sha256, { offset, length: blockBytes });
    await ctx.pace(data.byteLength);
    await ctx.publish("artifact-block", device, {
      sha256: request.sha256,
      totalBytes,
      index,
      data,
    });
  }
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
  for (const manifest of await manifestsOf(ctx, device)) {
    const proofs = manifest.golden.flatMap(({ shard, reference }) => [shard, reference]);
    const direct = [manifest.bundle, ...proofs].find((ref) => ref.sha256 === sha256);
    if (direct !== undefined) return direct.bytes;
    const bytes = await ctx.blobs.read(manifest.bundle.sha256, {
      maxBytes: bundleDescriptorBytesMax,
    });
    const file = decodeBundle(bytes, manifest.bundle.sha256).files.find(
      (one) => one.sha256 === sha256,
    );
    if (file !== undefined) return file.bytes;
  }
  return undefined;
}

async function manifestsOf(ctx: ControllerContext, device: string): Promise<Manifest[]> {
  const attempts = await ctx.db
    .selectFrom("desiredModels")
    .innerJoin("attempts", "attempts.id", "desiredModels.attempt")
    .select("manifestJson")
    .where("desiredModels.device", "=", device)
    .execute();
  const measurements = await ctx.db
    .selectFrom("measurements")
    .select("manifestJson")
    .where("device", "=", device)
    .where("status", "=", "wanted")
    .execute();
  return [...attempts, ...measurements].map(({ manifestJson }) =>
    manifestSchema.parse((JSON.parse(manifestJson) as { signed: unknown }).signed),
  );
}
