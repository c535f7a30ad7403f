/**
 * Claim tokens: one-time credentials that reach enrolment only. The secret is stored as a hash; the
 * first device key that enrols with a token owns it.
 */
import { timingSafeEqual } from "node:crypto";
import { sha256Hex } from "../../shared/artifact/hash.ts";
import { FleetError } from "../../shared/errors.ts";
import { encodeClaimToken } from "../../shared/protocol/claim-token.ts";
import type { ControllerContext } from "../context.ts";
import { recordEvent } from "../storage/events/repository.ts";

const secretBytes = 32;
const idBytes = 8;

export interface NewClaim {
  /** Wanted device id; one is drawn when it is left out. */
  readonly device?: string | undefined;
  readonly region: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ttlMs?: number | undefined;
}

/** Errors: `not-found` for an unknown region, `conflict` for a device id that is taken. */
export async function createClaim(
  ctx: ControllerContext,
  claim: NewClaim,
): Promise<{ id: string; token: string; expiresAtMs: number }> {
  if (!ctx.fleet.regions.some(({ name }) => name === claim.region)) {
    throw new FleetError("not-found", `there is no region named ${claim.region}`);
  }
  if (claim.device !== undefined) {
    const taken = await ctx.db
      .selectFrom("devices")
      .select("id")
      .where("id", "=", claim.device)
      .executeTakeFirst();
    if (taken !== undefined)
      throw new FleetError("conflict", `the device id ${claim.device} is taken`);
  }
  const id = `c-${Buffer.from(ctx.random.bytes(idBytes)).toString("hex")}`;
  const secret = Buffer.from(ctx.random.bytes(secretBytes)).toString("base64url");
  const nowMs = ctx.clock.wallMs();
  const expiresAtMs = nowMs + (claim.ttlMs ?? ctx.config.claimTtlMs);
  await ctx.db.transaction().execute(async (trx) => {
    await trx
      .insertInto("claims")
      .values({
        id,
        secretSha256: hashText(secret),
        deviceName: claim.device ?? null,
        region: claim.region,
        labelsJson: JSON.stringify(claim.labels),
        createdAtMs: nowMs,
        expiresAtMs,
        usedAtMs: null,
        usedByDevice: null,
        usedByKeyId: null,
      })
      .execute();
    await recordEvent(trx, {
      atMs: nowMs,
      kind: "claim-created",
      subject: id,
      message: `for ${claim.region}`,
    });
  });
  const token = encodeClaimToken({
    tenant: ctx.config.tenant,
    claim: id,
    secret,
    mqttUrl: ctx.mqttUrl,
    caPem: ctx.caPem,
    signingKeys: [ctx.signingKey.publicKey],
  });
  return { id, token, expiresAtMs };
}

export function hashText(text: string): string {
  return sha256Hex(new TextEncoder().encode(text));
}

/** Compares a presented secret with a stored hash in constant time. */
export function secretMatches(secret: Uint8Array, storedSha256: string): boolean {
  return timingSafeEqual(Buffer.from(sha256Hex(secret), "hex"), Buffer.from(storedSha256, "hex"));
}
