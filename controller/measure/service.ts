/**
 * Lets a device of each class benchmark the variants that its class could run. When the last answer
 * is in, every class chooses.
 *
 * Invariant: no measurement is wanted for ever, so a device that went away delays a choice and never
 * prevents it.
 */
import { FleetError } from "../../shared/errors.ts";
import type { ControllerContext } from "../context.ts";
import type { DeviceClass } from "../fleet/classes.ts";
import { publishDesired, raiseDesiredRevision } from "../fleet/desired.ts";
import type { OutboxHandler } from "../mqtt/handlers/handler.ts";
import { chooseForClasses } from "../plan/service.ts";
import { signRelease } from "../rollout/release.ts";
import type { Database } from "../storage/database.ts";
import { recordEvent } from "../storage/events/repository.ts";
import type { MeasurementTable } from "../storage/schema.ts";
import { lateness } from "./lateness.ts";

const idBytes = 6;
/** Label that marks a device as the first to run what is unproven. */
const labRole = "lab";

export type MeasurementView = Omit<MeasurementTable, "manifestJson">;

/** Errors: `not-found` when there is no variant to measure or no device to measure on. */
export async function startMeasurements(
  ctx: ControllerContext,
  order: { model: string; version: string },
): Promise<MeasurementView[]> {
  const devices = await ctx.db.transaction().execute(async (trx) => {
    const touched: string[] = [];
    for (const deviceClass of ctx.fleet.classes) {
      const device = await measuringDevice(trx, deviceClass.name);
      if (device === undefined) continue;
      if (!(await orderForClass(ctx, trx, { ...order, deviceClass, device }))) continue;
      touched.push(device, ...(await replaceOrders(ctx, trx, { ...order, deviceClass, device })));
    }
    await raiseDesiredRevision(trx, touched);
    return touched;
  });
  if (devices.length === 0) {
    throw new FleetError(
      "not-found",
      `nothing to measure for ${order.model} ${order.version}: no ready variant fits a class with an online device`,
    );
  }
  await publishDesired(ctx, devices);
  return listMeasurements(ctx, order);
}

/** An online device of the class, by preference one with the label role=lab. */
async function measuringDevice(trx: Database, deviceClass: string): Promise<string | undefined> {
  const rows = await trx
    .selectFrom("devices")
    .select(["id", "labelsJson"])
    .where("deviceClass", "=", deviceClass)
    .where("standing", "=", "active")
    .where("online", "=", 1)
    .orderBy("id")
    .execute();
  const isLab = (row: { labelsJson: string }) =>
    (JSON.parse(row.labelsJson) as Record<string, string>)["role"] === labRole;
  return (rows.find(isLab) ?? rows[0])?.id;
}

async function orderForClass(
  ctx: ControllerContext,
  trx: Database,
  order: { model: string; version: string; deviceClass: DeviceClass; device: string },
): Promise<boolean> {
  const { deviceClass, device } = order;
  const variants = await trx
    .selectFrom("variants")
    .selectAll()
    .where("model", "=", order.model)
    .where("version", "=", order.version)
    .where("status", "=", "ready")
    .where("recipe", "in", deviceClass.recipes)
    .execute();
  const bytesMax = deviceClass.budget.modelBytesMax ?? Number.POSITIVE_INFINITY;
  const fitting = variants.filter(({ modelBytes }) => (modelBytes ?? 0) <= bytesMax);
  const wanted = await trx
    .selectFrom("measurements")
    .select("bundleSha256")
    .where("device", "=", device)
    .where("deviceClass", "=", deviceClass.name)
    .where("status", "=", "wanted")
    .execute();
  const asked = new Set(wanted.map((one) => one.bundleSha256));
  for (const { bundleSha256 } of fitting) {
    if (bundleSha256 === null || asked.has(bundleSha256)) continue;
    const manifest = await signRelease(ctx, trx, {
      device,
      deviceClass,
      purpose: "measure",
      releaseCounter: 0,
      bundleSha256,
      choiceEmulated: false,
    });
    await trx
      .insertInto("measurements")
      .values({
        id: `m-${Buffer.from(ctx.random.bytes(idBytes)).toString("hex")}`,
        device,
        deviceClass: deviceClass.name,
        model: order.model,
        version: order.version,
        bundleSha256,
        manifestJson: JSON.stringify(manifest),
        status: "wanted",
        failureJson: null,
        createdAtMs: ctx.clock.wallMs(),
        finishedAtMs: null,
      })
      .execute();
  }
  return fitting.length > 0;
}

/** What another device of the class still owed for this version is asked of `device` now. */
async function replaceOrders(
  ctx: ControllerContext,
  trx: Database,
  order: { model: string; version: string; deviceClass: DeviceClass; device: string },
): Promise<string[]> {
  const rows = await trx
    .selectFrom("measurements")
    .selectAll()
    .where("model", "=", order.model)
    .where("version", "=", order.version)
    .where("deviceClass", "=", order.deviceClass.name)
    .where("status", "=", "wanted")
    .where("device", "!=", order.device)
    .execute();
  const why = `${order.device} was asked instead`;
  for (const { id } of rows) await giveUp(ctx, trx, id, { code: "measurement-replaced", why });
  return rows.map(({ device }) => device);
}

async function giveUp(
  ctx: ControllerContext,
  trx: Database,
  id: string,
  failure: { code: string; why: string },
): Promise<void> {
  await trx
    .updateTable("measurements")
    .set({
      status: "failed",
      failureJson: JSON.stringify(failure),
      finishedAtMs: ctx.clock.wallMs(),
    })
    .where("id", "=", id)
    .execute();
}

/** At start and every minute: gives up what no device will answer, so that the classes can choose. */
export async function closeLateMeasurements(ctx: ControllerContext): Promise<void> {
  const nowMs = ctx.clock.wallMs();
  const devices = await ctx.db.transaction().execute(async (trx) => {
    const wanted = await trx
      .selectFrom("measurements")
      .innerJoin("devices", "devices.id", "measurements.device")
      .selectAll("measurements")
      .select("devices.standing")
      .where("measurements.status", "=", "wanted")
      .execute();
    const rows: MeasurementTable[] = [];
    for (const row of wanted) {
      const why = lateness(ctx, row);
      if (why === undefined) continue;
      rows.push(row);
      await giveUp(ctx, trx, row.id, { code: "measurement-late", why });
      const message = `${row.model} ${row.version}: ${why}`;
      const event = { atMs: nowMs, kind: "measurement-failed", subject: row.device, message };
      await recordEvent(trx, event);
    }
    const versions = new Map(rows.map((row) => [`${row.model} ${row.version}`, row]));
    for (const version of versions.values()) await chooseWhenDone(ctx, trx, version);
    const touched = [...new Set(rows.map(({ device }) => device))];
    await raiseDesiredRevision(trx, touched);
    return touched;
  });
  await publishDesired(ctx, devices);
}

async function chooseWhenDone(
  ctx: ControllerContext,
  trx: Database,
  { model, version }: { model: string; version: string },
): Promise<void> {
  const left = await trx
    .selectFrom("measurements")
    .select("id")
    .where("model", "=", model)
    .where("version", "=", version)
    .where("status", "=", "wanted")
    .executeTakeFirst();
  if (left === undefined) await chooseForClasses(ctx, trx, { model, version });
}

export async function listMeasurements(
  ctx: ControllerContext,
  { model, version }: { model: string; version: string },
): Promise<MeasurementView[]> {
  const rows = await ctx.db
    .selectFrom("measurements")
    .selectAll()
    .where("model", "=", model)
    .where("version", "=", version)
    .orderBy("createdAtMs")
    .orderBy("id")
    .execute();
  return rows.map(({ manifestJson: _manifestJson, ...row }) => row);
}

/** Stores the facts; the last answer of a version makes every class choose. */
export const onMeasurement: OutboxHandler<"measurement"> = async (
  ctx,
  trx,
  { device },
  payload,
) => {
  const nowMs = ctx.clock.wallMs();
  const row = await trx
    .updateTable("measurements")
    .set({
      status: payload.failure === null ? "done" : "failed",
      failureJson: payload.failure === null ? null : JSON.stringify(payload.failure),
      finishedAtMs: nowMs,
    })
    .where("id", "=", payload.measurement)
    .where("device", "=", device)
    .where("status", "=", "wanted")
    .returning(["model", "version", "bundleSha256"])
    .executeTakeFirst();
  if (row === undefined) return undefined;
  for (const fact of payload.facts) {
    await trx
      .insertInto("facts")
      .values({
        bundleSha256: row.bundleSha256,
        fingerprint: payload.fingerprint,
        device,
        metric: fact.metric,
        value: fact.value,
        low: fact.interval?.[0] ?? null,
        high: fact.interval?.[1] ?? null,
        n: fact.n,
        emulated: payload.emulated ? 1 : 0,
        degraded: payload.environmentDegraded ? 1 : 0,
        measuredAtMs: nowMs,
      })
      .execute();
  }
  if (payload.failure !== null) {
    const message = `${row.model} ${row.version}: ${payload.failure.why}`;
    await recordEvent(trx, { atMs: nowMs, kind: "measurement-failed", subject: device, message });
  }
  await chooseWhenDone(ctx, trx, row);
  await raiseDesiredRevision(trx, [device]);
  return () => publishDesired(ctx, [device]);
};
