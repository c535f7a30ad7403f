/**
 * Watches what devices report after a rollout was completed. An alarm is an event with its numbers; it
 * takes nothing back, since nobody compared these devices with others.
 *
 * Invariants: one stream per rollout, bundle and region, moved in the transaction that stores the window;
 * one alarm per stream; a device moves it once in the length of a window, however many it sends at a time;
 * no device raises an alarm that the others contradict.
 */
import { sql } from "kysely";
import { z } from "zod";
import type { AlarmAnswer } from "../../shared/api/routes/alarms.ts";
import type { Database } from "../storage/database.ts";
import { recordEvent } from "../storage/events/repository.ts";
import type { DetectorTable, TelemetryWindowTable } from "../storage/schema.ts";
import {
  type Detection,
  type DeviceWindow,
  hasAlarm,
  isShared,
  newDetection,
  windowsToFalseAlarm,
  withWindow,
} from "./detection.ts";

/** What is compared with: a week has every day and night once. */
export const comparedBeforeMs = 7 * 86_400_000;

type Window = Omit<TelemetryWindowTable, "id">;
interface Stream {
  readonly rollout: string;
  readonly bundleSha256: string;
  readonly region: string;
}

/** Call after the window was stored; `windowMs` is how often devices send one. */
export async function watchWindow(trx: Database, window: Window, windowMs: number): Promise<void> {
  const failed = window.errors + window.timeouts;
  const calls = failed + window.ok;
  if (calls === 0 || (await hasSpoken(trx, window, windowMs))) return;
  const rollout = await completedRollout(trx, window);
  if (rollout === undefined) return;
  const { bundleSha256, region } = window;
  const stream = { rollout: rollout.id, bundleSha256, region };
  const known = await detectorOf(trx, stream);
  if (known !== undefined && known.alarmedAtMs !== null) return;
  const shareBefore = known?.shareBefore ?? (await shareBeforeOf(trx, window, rollout));
  if (shareBefore === undefined) return;
  const moved = withWindow(
    known === undefined ? newDetection(shareBefore) : detectionOf(known),
    failed / calls,
  );
  const isAlarm =
    hasAlarm(moved) && isShared(await newestWindows(trx, window, windowMs), shareBefore);
  const alarm = isAlarm
    ? await raise(trx, window, { rollout, shareBefore, detection: moved })
    : { alarmedAtMs: null, message: null };
  const { logDetectors, ...values } = moved;
  const row = { ...values, ...alarm, logDetectorsJson: JSON.stringify(logDetectors) };
  await trx
    .insertInto("detectors")
    .values({ ...stream, shareBefore, ...row })
    .onConflict((conflict) =>
      conflict.columns(["rollout", "bundleSha256", "region"]).doUpdateSet(row),
    )
    .execute();
}

const roundOf = (receivedAtMs: number, windowMs: number) => Math.floor(receivedAtMs / windowMs);

/** The device sent another window of the bundle in this length of time. */
async function hasSpoken(
  trx: Database,
  { device, model, bundleSha256, receivedAtMs }: Window,
  windowMs: number,
): Promise<boolean> {
  const rows = await trx
    .selectFrom("telemetryWindows")
    .select("id")
    .where("device", "=", device)
    .where("model", "=", model)
    .where("bundleSha256", "=", bundleSha256)
    .where("receivedAtMs", ">=", roundOf(receivedAtMs, windowMs) * windowMs)
    .where(sql<boolean>`ok + errors + timeouts > 0`)
    .limit(2)
    .execute();
  return rows.length > 1;
}

/** Windows of one stream that are asked whether an alarm is one device's. */
const windowsAsked = 300;

/** The newest windows of a region, oldest first, one of each device in the length of a window. */
async function newestWindows(
  trx: Database,
  { model, bundleSha256, region }: Window,
  windowMs: number,
): Promise<DeviceWindow[]> {
  const rows = await trx
    .selectFrom("telemetryWindows")
    .select(["device", "receivedAtMs"])
    .select(sql<number>`1.0 * (errors + timeouts) / (ok + errors + timeouts)`.as("share"))
    .where("model", "=", model)
    .where("bundleSha256", "=", bundleSha256)
    .where("region", "=", region)
    .where(sql<boolean>`ok + errors + timeouts > 0`)
    .orderBy("receivedAtMs", "desc")
    .orderBy("id", "desc")
    .limit(windowsAsked)
    .execute();
  const said = new Set<string>();
  return rows.toReversed().filter(({ device, receivedAtMs }) => {
    const key = `${device}/${roundOf(receivedAtMs, windowMs)}`;
    if (said.has(key)) return false;
    said.add(key);
    return true;
  });
}

function detectorOf(trx: Database, { rollout, bundleSha256, region }: Stream) {
  return trx
    .selectFrom("detectors")
    .selectAll()
    .where("rollout", "=", rollout)
    .where("bundleSha256", "=", bundleSha256)
    .where("region", "=", region)
    .executeTakeFirst();
}

const logDetectorsSchema = z.array(z.number());

function detectionOf({ logDetectorsJson, ...row }: DetectorTable): Detection {
  return { ...row, logDetectors: logDetectorsSchema.parse(JSON.parse(logDetectorsJson)) };
}

interface Rollout {
  readonly id: string;
  readonly version: string;
  readonly createdAtMs: number;
}

/** The completed rollout that brought the window's device its bundle. */
async function completedRollout(
  trx: Database,
  { device, model, bundleSha256 }: Window,
): Promise<Rollout | undefined> {
  const newest = await trx
    .selectFrom("attempts")
    .innerJoin("rollouts", "rollouts.id", "attempts.rollout")
    .select(["rollouts.id", "rollouts.version", "rollouts.createdAtMs", "rollouts.status"])
    .where("attempts.device", "=", device)
    .where("attempts.status", "=", "decided")
    .where("attempts.model", "=", model)
    .where("attempts.bundleSha256", "=", bundleSha256)
    .where("attempts.outcome", "=", "committed")
    .where("rollouts.kind", "!=", "rollback")
    .orderBy("attempts.releaseCounter", "desc")
    .executeTakeFirst();
  return newest?.status === "completed" ? newest : undefined;
}

/**
 * Mean share of errors of the model's windows in the week before the rollout: in the region, or
 * everywhere when the region is new. Undefined for a model that is new itself.
 */
async function shareBeforeOf(
  trx: Database,
  { model, region }: Window,
  { createdAtMs }: Rollout,
): Promise<number | undefined> {
  const before = trx
    .selectFrom("telemetryWindows")
    .select(
      sql<number | null>`avg(1.0 * (errors + timeouts) / (ok + errors + timeouts))`.as("share"),
    )
    .where("model", "=", model)
    .where("receivedAtMs", ">=", createdAtMs - comparedBeforeMs)
    .where("receivedAtMs", "<", createdAtMs)
    .where(sql<boolean>`ok + errors + timeouts > 0`);
  const here = await before.where("region", "=", region).executeTakeFirst();
  return here?.share ?? (await before.executeTakeFirst())?.share ?? undefined;
}

async function raise(
  trx: Database,
  { model, bundleSha256, region, receivedAtMs: atMs }: Window,
  found: { rollout: Rollout; shareBefore: number; detection: Detection },
): Promise<{ alarmedAtMs: number; message: string }> {
  const { rollout, shareBefore, detection } = found;
  const devices = await trx
    .selectFrom("telemetryWindows")
    .select(["device", (eb) => eb.fn.max(eb("errors", "+", eb.ref("timeouts"))).as("failedMost")])
    .where("model", "=", model)
    .where("bundleSha256", "=", bundleSha256)
    .where("region", "=", region)
    .where("receivedAtMs", ">=", rollout.createdAtMs)
    .groupBy("device")
    .execute();
  const failing = devices.filter(({ failedMost }) => Number(failedMost) > 0).length;
  const { windows, shareSum, shareMax } = detection;
  const share = shareSum / windows;
  const message = `${model} ${rollout.version} in ${region}: ${percent(share)} of calls failed in ${windows} windows since ${rollout.id} was completed, ${percent(shareBefore)} before it, up to ${percent(shareMax)} is borne (one false alarm in ${windowsToFalseAlarm} windows at most); ${failing} of ${devices.length} devices had errors. Nothing is taken back by itself: fleetfit rollout rollback ${rollout.id}`;
  const data = { model, region, bundleSha256, share, shareBefore, shareMax, windows };
  const kind = "regression-suspected";
  await recordEvent(trx, { atMs, kind, subject: rollout.id, message, data });
  return { alarmedAtMs: atMs, message };
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** Newest first. */
export async function alarmsOf(db: Database): Promise<AlarmAnswer[]> {
  const rows = await db
    .selectFrom("detectors")
    .innerJoin("rollouts", "rollouts.id", "detectors.rollout")
    .selectAll("detectors")
    .select(["rollouts.model", "rollouts.version"])
    .where("alarmedAtMs", "is not", null)
    .orderBy("alarmedAtMs", "desc")
    .execute();
  return rows.map(({ logDetectorsJson: _logDetectorsJson, shareSum, ...row }) => ({
    ...row,
    share: shareSum / row.windows,
    alarmedAtMs: row.alarmedAtMs ?? 0,
    message: row.message ?? "",
  }));
}
