/**
 * Cost tables: asks a device what operators cost on its processor, stores the answer as a fact about its
 * hardware fingerprint, finds the table that speaks for a class.
 *
 * Invariant: of a device there is at most one open order, and one table, the newest.
 */
import { signCostOrder } from "../../shared/artifact/cost-order.ts";
import { FleetError, isFleetError } from "../../shared/errors.ts";
import { type CostProbe, encodeCostProbes } from "../../shared/inference/cost-probes.ts";
import { type CostTable, costTableSchema } from "../../shared/inference/cost-table.ts";
import { type Failure, failureSchema } from "../../shared/protocol/messages/measurement.ts";
import { compareVersions } from "../../shared/versions.ts";
import { costProbes } from "../compress/cost/probes.ts";
import type { ControllerContext } from "../context.ts";
import { publishDesired, raiseDesiredRevision } from "../fleet/desired.ts";
import type { OutboxHandler } from "../mqtt/handlers/handler.ts";
import { recordBlobs } from "../storage/blobs/repository.ts";
import type { Database } from "../storage/database.ts";
import { recordEvent } from "../storage/events/repository.ts";
import type { CostTableTable } from "../storage/schema.ts";
import { lateness } from "./lateness.ts";

const idBytes = 6;
/** Oldest agent that knows cost orders. */
const agentMin = "0.3.0";

/** A table with what it rests on. */
export interface MeasuredCosts {
  readonly device: string;
  readonly fingerprint: string;
  readonly table: CostTable;
  /** True when the hardware is declared: a fact about the machine that imitates it. */
  readonly emulated: boolean;
  /** True when the machine did much else meanwhile. */
  readonly degraded: boolean;
  readonly measuredAtMs: number;
}

export interface DeviceCosts {
  /** True while the device is asked. */
  readonly pending: boolean;
  /** Why the newest order brought no table. */
  readonly failure: Failure | null;
  /** The newest table of the device's hardware, from whichever device has the same. */
  readonly measured: MeasuredCosts | null;
}

/** Asks a device, once. Errors: `not-found`, `conflict` for a device that cannot answer now. */
export async function orderCosts(
  ctx: ControllerContext,
  device: string,
  wanted: readonly CostProbe[] = costProbes(),
): Promise<void> {
  await requireAnswerable(ctx.db, device);
  const bytes = encodeCostProbes(wanted);
  const probes = { sha256: await ctx.blobs.put(bytes), bytes: bytes.byteLength };
  const nowMs = ctx.clock.wallMs();
  const order = signCostOrder(
    {
      schema: "fleetfit/cost-order/1",
      tenant: ctx.config.tenant,
      device,
      probes,
      issuedAtMs: nowMs,
      expiresAtMs: nowMs + ctx.config.manifestTtlMs,
    },
    ctx.signingKey,
  );
  await ctx.db.transaction().execute(async (trx) => {
    if ((await openOrder(trx, device)) !== undefined) return;
    await trx
      .deleteFrom("costTables")
      .where("device", "=", device)
      .where("status", "=", "failed")
      .execute();
    await trx
      .insertInto("costTables")
      .values({
        id: `c-${Buffer.from(ctx.random.bytes(idBytes)).toString("hex")}`,
        device,
        orderJson: JSON.stringify(order),
        status: "wanted",
        failureJson: null,
        fingerprint: null,
        tableJson: null,
        emulated: null,
        degraded: null,
        createdAtMs: nowMs,
        finishedAtMs: null,
      })
      .execute();
    await recordBlobs(trx, [probes], nowMs);
    await raiseDesiredRevision(trx, [device]);
  });
  await publishDesired(ctx, [device]);
}

/** Asks those of the devices whose hardware never answered, one of each hardware. */
export async function orderMissingCosts(
  ctx: ControllerContext,
  devices: readonly string[],
  wanted?: readonly CostProbe[],
): Promise<void> {
  const rows = await ctx.db
    .selectFrom("devices")
    .leftJoin("costTables", (join) =>
      join.on(({ or, and, eb, ref }) =>
        or([
          eb("costTables.fingerprint", "=", ref("devices.fingerprint")),
          and([
            eb("costTables.device", "=", ref("devices.id")),
            eb("costTables.status", "=", "wanted"),
          ]),
        ]),
      ),
    )
    .select(["devices.id", "devices.fingerprint"])
    .where("devices.id", "in", devices)
    .where("costTables.id", "is", null)
    .execute();
  const perHardware = new Map(rows.map(({ id, fingerprint }) => [fingerprint, id]));
  for (const device of perHardware.values()) {
    await orderCosts(ctx, device, wanted).catch((error: unknown) => {
      // One that cannot answer now is asked another time.
      if (!isFleetError(error, "conflict")) throw error;
    });
  }
}

async function requireAnswerable(db: Database, device: string): Promise<void> {
  const row = await db
    .selectFrom("devices")
    .select(["standing", "online", "agentVersion"])
    .where("id", "=", device)
    .executeTakeFirst();
  if (row === undefined) throw new FleetError("not-found", `there is no device ${device}`);
  const conflict = (why: string) => new FleetError("conflict", `${device} ${why}`);
  if (row.standing !== "active") throw conflict(`is ${row.standing}`);
  if (row.online === 0) throw conflict("is offline: ask it when it is connected");
  if (compareVersions(row.agentVersion, agentMin) < 0) {
    throw conflict(`runs agent ${row.agentVersion}, which knows no cost tables: ${agentMin} does`);
  }
}

function openOrder(db: Database, device: string) {
  return db
    .selectFrom("costTables")
    .select("id")
    .where("device", "=", device)
    .where("status", "=", "wanted")
    .executeTakeFirst();
}

export async function costsOf(
  ctx: ControllerContext,
  device: { readonly id: string; readonly fingerprint: string },
): Promise<DeviceCosts> {
  const failed = await ctx.db
    .selectFrom("costTables")
    .select("failureJson")
    .where("device", "=", device.id)
    .where("status", "=", "failed")
    .executeTakeFirst();
  const row = await doneTables(ctx.db)
    .where("costTables.fingerprint", "=", device.fingerprint)
    .executeTakeFirst();
  return {
    pending: (await openOrder(ctx.db, device.id)) !== undefined,
    failure:
      failed?.failureJson == null ? null : failureSchema.parse(JSON.parse(failed.failureJson)),
    measured: row === undefined ? null : measuredOf(row),
  };
}

/** Real hardware before declared, a steady machine before a busy one, then the newest. */
function doneTables(db: Database) {
  return db
    .selectFrom("costTables")
    .selectAll("costTables")
    .where("costTables.status", "=", "done")
    .orderBy("costTables.emulated")
    .orderBy("costTables.degraded")
    .orderBy("costTables.finishedAtMs", "desc");
}

function measuredOf(row: CostTableTable): MeasuredCosts {
  return {
    device: row.device,
    fingerprint: row.fingerprint ?? "",
    table: costTableSchema.parse(JSON.parse(row.tableJson ?? "")),
    emulated: row.emulated === 1,
    degraded: row.degraded === 1,
    measuredAtMs: row.finishedAtMs ?? 0,
  };
}

/** The table of the class's hardware, with a profile of that hardware; undefined where none is known. */
export async function costsOfClass(
  db: Database,
  deviceClass: string,
): Promise<{ measured: MeasuredCosts; profileJson: string } | undefined> {
  const row = await doneTables(db)
    .innerJoin("devices", "devices.fingerprint", "costTables.fingerprint")
    .select("devices.profileJson")
    .where("devices.deviceClass", "=", deviceClass)
    .executeTakeFirst();
  return row && { measured: measuredOf(row), profileJson: row.profileJson };
}

export const onCostTable: OutboxHandler<"cost-table"> = async (ctx, trx, { device }, payload) => {
  const { failure, table } = payload;
  const nowMs = ctx.clock.wallMs();
  const row = await trx
    .updateTable("costTables")
    .set({
      status: failure === null ? "done" : "failed",
      failureJson: failure === null ? null : JSON.stringify(failure),
      fingerprint: payload.fingerprint,
      tableJson: table === null ? null : JSON.stringify(table),
      emulated: payload.emulated ? 1 : 0,
      degraded: payload.environmentDegraded ? 1 : 0,
      finishedAtMs: nowMs,
    })
    .where("id", "=", payload.measurement)
    .where("device", "=", device)
    .where("status", "=", "wanted")
    .returning("id")
    .executeTakeFirst();
  if (row === undefined) return undefined;
  if (failure === null) {
    await trx
      .deleteFrom("costTables")
      .where("device", "=", device)
      .where("status", "=", "done")
      .where("id", "!=", row.id)
      .execute();
  } else await recordFailure(trx, { device, nowMs, why: failure.why });
  await raiseDesiredRevision(trx, [device]);
  return () => publishDesired(ctx, [device]);
};

async function recordFailure(
  trx: Database,
  { device, nowMs, why }: { device: string; nowMs: number; why: string },
): Promise<void> {
  const message = `cost table: ${why}`;
  await recordEvent(trx, { atMs: nowMs, kind: "measurement-failed", subject: device, message });
}

/** At start and every few seconds: gives up what no device will answer. */
export async function closeLateCosts(ctx: ControllerContext): Promise<void> {
  const nowMs = ctx.clock.wallMs();
  const devices = await ctx.db.transaction().execute(async (trx) => {
    const wanted = await trx
      .selectFrom("costTables")
      .innerJoin("devices", "devices.id", "costTables.device")
      .select(["costTables.id", "costTables.device", "costTables.createdAtMs", "devices.standing"])
      .where("costTables.status", "=", "wanted")
      .execute();
    const touched: string[] = [];
    for (const row of wanted) {
      const why = lateness(ctx, row);
      if (why === undefined) continue;
      const failureJson = JSON.stringify({ code: "measurement-late", why } satisfies Failure);
      await trx
        .updateTable("costTables")
        .set({ status: "failed", failureJson, finishedAtMs: nowMs })
        .where("id", "=", row.id)
        .execute();
      await recordFailure(trx, { device: row.device, nowMs, why });
      touched.push(row.device);
    }
    await raiseDesiredRevision(trx, touched);
    return touched;
  });
  await publishDesired(ctx, devices);
}
