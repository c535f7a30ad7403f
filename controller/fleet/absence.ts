/**
 * Whether devices are there by the broker's own word, which knows more than we were told: a last will may be lost
 * on its way to us, and a device whose link is dead stays connected until the broker gives it up.
 */
import type { ControllerContext } from "../context.ts";
import type { Database } from "../storage/database.ts";
import { prepared } from "../storage/prepared.ts";

/** When anything of the device arrived last, a ping for instance; null when nothing ever did. */
export function lastHeardAtMs(
  ctx: Pick<ControllerContext, "heardAtMs">,
  { id, lastSeenAtMs }: { id: string; lastSeenAtMs: number | null },
): number | null {
  const heardAtMs = ctx.heardAtMs(id) ?? null;
  if (heardAtMs === null || lastSeenAtMs === null) return heardAtMs ?? lastSeenAtMs;
  return Math.max(heardAtMs, lastSeenAtMs);
}

/** Those that we take for connected and the broker does not have are away. */
export async function noteAbsence(ctx: ControllerContext): Promise<void> {
  const { rows } = await onlineDevices(ctx.db, {});
  for (const device of rows) {
    if (!ctx.isConnected(device.id)) await storeAbsence(ctx, ctx.db, device);
  }
}

/** Ends the session that was read: a newer one may have begun meanwhile. */
export async function storeAbsence(
  ctx: Pick<ControllerContext, "heardAtMs">,
  db: Database,
  device: { id: string; session: number; lastSeenAtMs: number | null },
): Promise<void> {
  await db
    .updateTable("devices")
    .set({ online: 0, lastSeenAtMs: lastHeardAtMs(ctx, device) })
    .where("id", "=", device.id)
    .where("session", "=", device.session)
    .execute();
}

const onlineDevices = prepared((db) =>
  db.selectFrom("devices").select(["id", "session", "lastSeenAtMs"]).where("online", "=", 1),
);
