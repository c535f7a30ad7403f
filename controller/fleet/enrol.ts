/**
 * Turns a claim into a device, once. The same device asking again gets the same answer; another one
 * with the same token, a retired key or an expired token gets a coded refusal.
 */

import { publicKeySchema } from "../../shared/artifact/signature.ts";
import { profileFingerprint } from "../../shared/devices/profile.ts";
import { FleetError } from "../../shared/errors.ts";
import type { PayloadOf } from "../../shared/protocol/registry.ts";
import type { ControllerContext } from "../context.ts";
import type { Database } from "../storage/database.ts";
import { recordEvent } from "../storage/events/repository.ts";
import { classOf } from "./classes.ts";

type Request = PayloadOf<"enrol-request">;
const idBytes = 6;

/** Answers with `accepted: false` and a code instead of throwing: the device must learn why. */
export async function enrolDevice(
  ctx: ControllerContext,
  claimId: string,
  request: Request,
): Promise<PayloadOf<"enrol-response">> {
  try {
    return await ctx.db.transaction().execute((trx) => enrolInside(ctx, trx, claimId, request));
  } catch (error) {
    if (!(error instanceof FleetError)) throw error;
    await recordEvent(ctx.db, {
      atMs: ctx.clock.wallMs(),
      kind: "enrolment-refused",
      subject: claimId,
      message: error.message,
      data: { code: error.code },
    });
    return { accepted: false, code: error.code, reason: error.message };
  }
}

async function enrolInside(
  ctx: ControllerContext,
  trx: Database,
  claimId: string,
  request: Request,
): Promise<PayloadOf<"enrol-response">> {
  const claim = await trx
    .selectFrom("claims")
    .selectAll()
    .where("id", "=", claimId)
    .executeTakeFirst();
  if (claim === undefined)
    throw new FleetError("claim-invalid", "the controller does not know this claim");
  const { keyId } = request.publicKey;
  await refuseRetiredKey(trx, keyId);
  const accepted = (device: string) => ({
    accepted: true as const,
    tenant: ctx.config.tenant,
    device,
    region: claim.region,
    labels: JSON.parse(claim.labelsJson) as Record<string, string>,
    signingKeys: [ctx.signingKey.publicKey],
  });
  if (claim.usedByDevice !== null) {
    if (await isSameDevice(trx, claim.usedByDevice, request)) return accepted(claim.usedByDevice);
    throw new FleetError("claim-used", "another device already enrolled with this claim");
  }
  const nowMs = ctx.clock.wallMs();
  if (nowMs > claim.expiresAtMs) {
    throw new FleetError(
      "claim-expired",
      `the claim expired at ${new Date(claim.expiresAtMs).toISOString()}`,
    );
  }
  const device = claim.deviceName ?? `d-${Buffer.from(ctx.random.bytes(idBytes)).toString("hex")}`;
  const taken = await trx
    .selectFrom("devices")
    .select("id")
    .where("id", "=", device)
    .executeTakeFirst();
  if (taken !== undefined) throw new FleetError("conflict", `the device id ${device} is taken`);
  await insertDevice(ctx, trx, { device, claim, request, nowMs });
  await trx
    .updateTable("claims")
    .set({ usedAtMs: nowMs, usedByDevice: device, usedByKeyId: keyId })
    .where("id", "=", claimId)
    .execute();
  await recordEvent(trx, {
    atMs: nowMs,
    kind: "device-enrolled",
    subject: device,
    message: `in ${claim.region} with ${claimId}`,
  });
  return accepted(device);
}

/**
 * True for the request that made the device, sent again. The key alone is public, so the hash of the
 * password must be the same too; it is never replaced.
 */
async function isSameDevice(trx: Database, id: string, request: Request): Promise<boolean> {
  const row = await trx
    .selectFrom("devices")
    .select(["publicKeyJson", "passwordSha256"])
    .where("id", "=", id)
    .executeTakeFirst();
  if (row === undefined) return false;
  const { keyId } = publicKeySchema.parse(JSON.parse(row.publicKeyJson));
  return keyId === request.publicKey.keyId && row.passwordSha256 === request.passwordSha256;
}

async function refuseRetiredKey(trx: Database, keyId: string): Promise<void> {
  const retired = await trx
    .selectFrom("devices")
    .select(["id", "publicKeyJson"])
    .where("standing", "=", "retired")
    .execute();
  if (retired.some(({ publicKeyJson }) => publicKeyJson.includes(keyId))) {
    throw new FleetError("device-retired", "this device key was retired");
  }
}

async function insertDevice(
  ctx: ControllerContext,
  trx: Database,
  options: {
    device: string;
    claim: { region: string; labelsJson: string };
    request: Request;
    nowMs: number;
  },
): Promise<void> {
  const { device, claim, request, nowMs } = options;
  const labels = JSON.parse(claim.labelsJson) as Record<string, string>;
  await trx
    .insertInto("devices")
    .values({
      id: device,
      publicKeyJson: JSON.stringify(request.publicKey),
      passwordSha256: request.passwordSha256,
      region: claim.region,
      labelsJson: claim.labelsJson,
      deviceClass: classOf({ profile: request.profile, labels }, ctx.fleet.classes),
      profileJson: JSON.stringify(request.profile),
      fingerprint: profileFingerprint(request.profile),
      emulated: request.profile.emulated ? 1 : 0,
      agentVersion: request.agentVersion,
      standing: "active",
      standingReason: null,
      session: 0,
      boot: null,
      online: 0,
      lastSeenAtMs: null,
      desiredRevision: 0,
      reportedJson: null,
      createdAtMs: nowMs,
    })
    .execute();
  await trx
    .insertInto("devicePlacements")
    .values({ device, sinceMs: nowMs, region: claim.region, labelsJson: claim.labelsJson })
    .execute();
}
