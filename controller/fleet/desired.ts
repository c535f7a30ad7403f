/**
 * The whole wanted state of a device, made from the database each time. It is sent when it changes
 * and again on each birth, so a lost message costs nothing.
 */
import type { Signed } from "../../shared/artifact/signature.ts";
import type { PayloadOf } from "../../shared/protocol/registry.ts";
import type { ControllerContext } from "../context.ts";
import type { Database } from "../storage/database.ts";

/** Call in the transaction that changes what a device should do. */
export async function raiseDesiredRevision(
  trx: Database,
  devices: readonly string[],
): Promise<void> {
  if (devices.length === 0) return;
  await trx
    .updateTable("devices")
    .set((eb) => ({ desiredRevision: eb("desiredRevision", "+", 1) }))
    .where("id", "in", [...devices])
    .execute();
}

export async function desiredOf(
  ctx: ControllerContext,
  device: string,
): Promise<PayloadOf<"desired"> | undefined> {
  const row = await ctx.db
    .selectFrom("devices")
    .select(["desiredRevision", "standing"])
    .where("id", "=", device)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  const models = await ctx.db
    .selectFrom("desiredModels")
    .innerJoin("attempts", "attempts.id", "desiredModels.attempt")
    .select(["desiredModels.model", "attempts.id", "attempts.arm", "attempts.manifestJson"])
    .where("desiredModels.device", "=", device)
    .execute();
  const measurements = await ctx.db
    .selectFrom("measurements")
    .select(["id", "manifestJson"])
    .where("device", "=", device)
    .where("status", "=", "wanted")
    .orderBy("createdAtMs")
    .orderBy("id")
    .limit(64)
    .execute();
  return {
    revision: row.desiredRevision,
    standing: row.standing as PayloadOf<"desired">["standing"],
    models: Object.fromEntries(
      models.map(({ model, id, arm, manifestJson }) => [
        model,
        {
          attempt: id,
          arm: arm as "canary" | "fleet",
          manifest: JSON.parse(manifestJson) as Signed,
        },
      ]),
    ),
    measurements: measurements.map(({ id, manifestJson }) => ({
      measurement: id,
      manifest: JSON.parse(manifestJson) as Signed,
    })),
    telemetry: { windowMs: ctx.config.telemetryWindowMs },
  };
}

/** Best effort: a device that is away gets it on its next birth. */
export async function publishDesired(
  ctx: ControllerContext,
  devices: readonly string[],
): Promise<void> {
  for (const device of devices) {
    const desired = await desiredOf(ctx, device);
    if (desired !== undefined) await ctx.publish("desired", device, desired);
  }
}

/** At start and after a lost connection: nobody knows what the broker lost. */
export async function publishAllDesired(ctx: ControllerContext): Promise<void> {
  const rows = await ctx.db
    .selectFrom("devices")
    .select("id")
    .where("standing", "!=", "retired")
    .execute();
  await publishDesired(
    ctx,
    rows.map(({ id }) => id),
  );
}
