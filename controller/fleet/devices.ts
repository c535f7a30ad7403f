/** Devices as the API shows them, and what an operator does to them. */
import type { Selectable } from "kysely";
import { z } from "zod";
import type { Profile } from "../../shared/devices/profile.ts";
import { FleetError } from "../../shared/errors.ts";
import { messages, type PayloadOf } from "../../shared/protocol/registry.ts";
import type { ControllerContext } from "../context.ts";
import type { Database } from "../storage/database.ts";
import { recordEvent } from "../storage/events/repository.ts";
import type { DeviceTable } from "../storage/schema.ts";
import { classOf } from "./classes.ts";
import { publishDesired, raiseDesiredRevision } from "./desired.ts";

export interface DeviceView {
  readonly id: string;
  readonly region: string;
  readonly labels: Record<string, string>;
  readonly deviceClass: string | null;
  readonly online: boolean;
  readonly standing: string;
  readonly standingReason: string | null;
  readonly emulated: boolean;
  readonly agentVersion: string;
  readonly lastSeenAtMs: number | null;
  readonly profile: Profile;
  readonly models: PayloadOf<"reported">["models"];
}

export async function listDevices(ctx: ControllerContext): Promise<DeviceView[]> {
  const rows = await ctx.db.selectFrom("devices").selectAll().orderBy("id").execute();
  return rows.map(viewOf);
}

/** Errors: `not-found`. */
export async function getDevice(ctx: ControllerContext, id: string): Promise<DeviceView> {
  const row = await ctx.db
    .selectFrom("devices")
    .selectAll()
    .where("id", "=", id)
    .executeTakeFirst();
  if (row === undefined) throw new FleetError("not-found", `there is no device named ${id}`);
  return viewOf(row);
}

function viewOf(row: Selectable<DeviceTable>): DeviceView {
  const reported =
    row.reportedJson === null
      ? undefined
      : messages.reported.schema.parse(JSON.parse(row.reportedJson));
  return {
    id: row.id,
    region: row.region,
    labels: z.record(z.string(), z.string()).parse(JSON.parse(row.labelsJson)),
    deviceClass: row.deviceClass,
    online: row.online === 1,
    standing: row.standing,
    standingReason: row.standingReason,
    emulated: row.emulated === 1,
    agentVersion: row.agentVersion,
    lastSeenAtMs: row.lastSeenAtMs,
    profile: JSON.parse(row.profileJson) as Profile,
    models: reported?.models ?? {},
  };
}

/** Final: the credential is dead and neither id nor key ever enrols again. Errors: `not-found`. */
export async function retireDevice(
  ctx: ControllerContext,
  id: string,
  reason: string,
): Promise<DeviceView> {
  await getDevice(ctx, id);
  await ctx.db
    .transaction()
    .execute((trx) => storeStanding(trx, ctx.clock.wallMs(), { id, standing: "retired", reason }));
  await publishDesired(ctx, [id]);
  ctx.disconnect(id);
  return getDevice(ctx, id);
}

/**
 * Stores a standing with its reason and says so; send `desired` after the commit. Standings only get
 * worse, so what is repeated or late changes nothing: the first reason stands.
 */
export async function storeStanding(
  trx: Database,
  atMs: number,
  change: { id: string; standing: "quarantined" | "retired"; reason: string },
): Promise<void> {
  const { id, standing, reason } = change;
  const better = standing === "retired" ? ["active", "quarantined"] : ["active"];
  const changed = await trx
    .updateTable("devices")
    .set({ standing, standingReason: reason, ...(standing === "retired" ? { online: 0 } : {}) })
    .where("id", "=", id)
    .where("standing", "in", better)
    .executeTakeFirst();
  if (changed.numUpdatedRows === 0n) return;
  await raiseDesiredRevision(trx, [id]);
  await recordEvent(trx, { atMs, kind: `device-${standing}`, subject: id, message: reason });
}

/** Classes may have changed while the controller was down: every device is matched again. */
export async function reclassify(ctx: ControllerContext): Promise<void> {
  for (const device of await listDevices(ctx)) {
    const deviceClass = classOf(device, ctx.fleet.classes);
    if (deviceClass === device.deviceClass) continue;
    await ctx.db.transaction().execute(async (trx) => {
      await trx.updateTable("devices").set({ deviceClass }).where("id", "=", device.id).execute();
      await recordClassChange(trx, ctx.clock.wallMs(), {
        device: device.id,
        before: device.deviceClass,
        after: deviceClass,
      });
    });
  }
}

/** Says that a device has another class now. */
export async function recordClassChange(
  trx: Database,
  atMs: number,
  change: { device: string; before: string | null; after: string | null },
): Promise<void> {
  const { device, before, after } = change;
  const message = `from ${before ?? "no class"} to ${after ?? "no class"}`;
  await recordEvent(trx, { atMs, kind: "device-class-changed", subject: device, message });
}
