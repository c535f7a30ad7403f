/**
 * The whole wanted state of a device, made from the database each time. It is sent when it changes
 * and again on each birth, so a lost message costs nothing.
 */
import { type Manifest, signManifest, verifyManifest } from "../../shared/artifact/manifest.ts";
import type { Signed } from "../../shared/artifact/signature.ts";
import { isFleetError } from "../../shared/errors.ts";
import type { PayloadOf } from "../../shared/protocol/registry.ts";
import type { ControllerContext } from "../context.ts";
import type { Database } from "../storage/database.ts";
import { prepared } from "../storage/prepared.ts";
import { toEach } from "./broadcast.ts";

/** Values of one statement; SQLite limits them. */
const idsMax = 1_000;

/** Call in the transaction that changes what a device should do. */
export async function raiseDesiredRevision(
  trx: Database,
  devices: readonly string[],
): Promise<void> {
  for (let at = 0; at < devices.length; at += idsMax) {
    await trx
      .updateTable("devices")
      .set((eb) => ({ desiredRevision: eb("desiredRevision", "+", 1) }))
      .where("id", "in", devices.slice(at, at + idsMax))
      .execute();
  }
}

const revisionOf = prepared((db, { device }: { device: string }) =>
  db.selectFrom("devices").select(["desiredRevision", "standing"]).where("id", "=", device),
);

const wantedModels = prepared((db, { device }: { device: string }) =>
  db
    .selectFrom("desiredModels")
    .innerJoin("attempts", "attempts.id", "desiredModels.attempt")
    .select([
      "desiredModels.model",
      "attempts.id",
      "attempts.arm",
      "attempts.outcome",
      "attempts.manifestJson",
    ])
    .where("desiredModels.device", "=", device),
);

const wantedMeasurements = prepared((db, { device }: { device: string }) =>
  db
    .selectFrom("measurements")
    .select(["id", "manifestJson"])
    .where("device", "=", device)
    .where("status", "=", "wanted")
    .orderBy("createdAtMs")
    .orderBy("id")
    .limit(64),
);

const wantedCosts = prepared((db, { device }: { device: string }) =>
  db
    .selectFrom("costTables")
    .select(["id", "orderJson"])
    .where("device", "=", device)
    .where("status", "=", "wanted"),
);

export async function desiredOf(
  ctx: ControllerContext,
  device: string,
): Promise<PayloadOf<"desired"> | undefined> {
  const [row] = (await revisionOf(ctx.db, { device })).rows;
  if (row === undefined) return undefined;
  const models = (await wantedModels(ctx.db, { device })).rows;
  const measurements = (await wantedMeasurements(ctx.db, { device })).rows;
  const [costs] = (await wantedCosts(ctx.db, { device })).rows;
  return {
    revision: row.desiredRevision,
    standing: row.standing as PayloadOf<"desired">["standing"],
    models: Object.fromEntries(
      models.map(({ model, id, arm, outcome, manifestJson }) => [
        model,
        {
          attempt: id,
          arm: arm as PayloadOf<"desired">["models"][string]["arm"],
          outcomeKnown: outcome !== null,
          manifest: JSON.parse(manifestJson) as Signed,
        },
      ]),
    ),
    measurements: measurements.map(({ id, manifestJson }) => ({
      measurement: id,
      manifest: JSON.parse(manifestJson) as Signed,
    })),
    costs:
      costs === undefined
        ? null
        : { measurement: costs.id, order: JSON.parse(costs.orderJson) as Signed },
    telemetry: { windowMs: ctx.config.telemetryWindowMs },
  };
}

/** Best effort: a device that is away gets it on its next birth. */
export async function publishDesired(
  ctx: ControllerContext,
  devices: readonly string[],
): Promise<void> {
  await toEach(devices, async (device) => {
    const desired = await desiredOf(ctx, device);
    if (desired !== undefined) await ctx.publish("desired", device, desired);
  });
}

/**
 * After a lost connection nobody knows what the broker lost. Who is not known to be there asks by its
 * birth, at a start everybody.
 */
export async function publishAllDesired(ctx: ControllerContext): Promise<void> {
  await renewManifests(ctx);
  const rows = await ctx.db
    .selectFrom("devices")
    .select("id")
    .where("standing", "!=", "retired")
    .where("online", "=", 1)
    .execute();
  await publishDesired(
    ctx,
    rows.map(({ id }) => id),
  );
}

/**
 * Orders that still stand are signed again when half of their time is over, so that a device that was
 * away for long can follow them. Everything but their dates stays as it was. Answers whom to tell.
 */
export async function renewManifests(ctx: ControllerContext): Promise<string[]> {
  return ctx.db.transaction().execute(async (trx) => {
    const rows = await trx
      .selectFrom("desiredModels")
      .innerJoin("attempts", "attempts.id", "desiredModels.attempt")
      .innerJoin("devices", "devices.id", "desiredModels.device")
      .select(["attempts.id", "attempts.device", "attempts.manifestJson"])
      .where("attempts.outcome", "is", null)
      .where("attempts.createdAtMs", "<=", ctx.clock.wallMs() - ctx.config.manifestTtlMs / 2)
      .where("devices.standing", "=", "active")
      .execute();
    const touched: string[] = [];
    for (const { id, device, manifestJson } of rows) {
      const manifest = renewedManifest(ctx, JSON.parse(manifestJson));
      if (manifest === undefined) continue;
      await trx
        .updateTable("attempts")
        .set({ manifestJson: JSON.stringify(manifest) })
        .where("id", "=", id)
        .execute();
      touched.push(device);
    }
    await raiseDesiredRevision(trx, touched);
    return touched;
  });
}

/** Undefined while half of its time is left. What we did not sign ourselves is left as it is. */
function renewedManifest(ctx: ControllerContext, document: unknown): Signed | undefined {
  let manifest: Manifest;
  try {
    manifest = verifyManifest(document, [ctx.signingKey.publicKey]);
  } catch (error) {
    if (!isFleetError(error)) throw error;
    ctx.log.warn("a stored manifest is not ours and was not renewed", { error: String(error) });
    return undefined;
  }
  const nowMs = ctx.clock.wallMs();
  const leftMs = manifest.expiresAtMs - nowMs;
  if (leftMs > (manifest.expiresAtMs - manifest.issuedAtMs) / 2) return undefined;
  const expiresAtMs = nowMs + ctx.config.manifestTtlMs;
  return signManifest({ ...manifest, issuedAtMs: nowMs, expiresAtMs }, ctx.signingKey);
}
