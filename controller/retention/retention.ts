/**
 * What the controller forgets, and when: telemetry windows and events by age and number of rows, and the
 * marks of reports that were stored, when no second copy can come. Everything else is kept: releases,
 * attempts with their outcomes, ledgers and what they rest on.
 *
 * Invariants: each batch is one short transaction; the windows that an alarm of a rollout under way
 * compares with are kept whatever their age; no report is counted twice by what went.
 */
import { type SqlBool, sql } from "kysely";
import type { ControllerContext } from "../context.ts";
import { liveStatuses } from "../rollout/transitions.ts";
import type { Database } from "../storage/database.ts";
import { comparedBeforeMs } from "../telemetry/watch.ts";
import { mayForget, transitMs } from "./marks.ts";

/** Rows of one transaction: some milliseconds, so that messages wait no longer. */
const batchRows = 1_000;
/** Time for everything else between two batches. */
const pauseMs = 50;
/**
 * Marks of one device, for those that never say that their outbox is empty. An outbox is sent in order and
 * holds a few hundred reports, so one that was stored this many reports ago was acked.
 */
const marksPerDeviceMax = 10_000;

/** One pass over everything; stops between two batches when `signal` aborts. */
export async function forgetOld(ctx: ControllerContext, signal: AbortSignal): Promise<void> {
  const { config, clock } = ctx;
  const nowMs = clock.wallMs();
  const batches = [
    ofTable("telemetryWindows", {
      column: "receivedAtMs",
      beforeMs: Math.min(nowMs - config.telemetryRetentionMs, await comparedFromMs(ctx.db)),
      rowsMax: config.telemetryRowsMax,
    }),
    ofTable("events", {
      column: "atMs",
      beforeMs: nowMs - config.eventRetentionMs,
      rowsMax: config.eventRowsMax,
    }),
    marks(nowMs),
    surplusMarks(),
  ];
  for (const batch of batches) {
    while (!signal.aborted && (await ctx.db.transaction().execute(batch)))
      await clock.sleep(pauseMs, signal);
  }
}

/** Forgets some rows; true when there may be more. */
type Batch = (trx: Database) => Promise<boolean>;

/** The oldest windows that rollouts under way are compared with. */
async function comparedFromMs(db: Database): Promise<number> {
  const { first } = await db
    .selectFrom("rollouts")
    .select((eb) => eb.fn.min("createdAtMs").as("first"))
    .where("status", "in", [...liveStatuses])
    .executeTakeFirstOrThrow();
  return first === null ? Infinity : Number(first) - comparedBeforeMs;
}

/** Rows come in the order of their numbers, so the oldest are the first. */
function ofTable(
  table: "telemetryWindows" | "events",
  limits: { column: string; beforeMs: number; rowsMax: number },
): Batch {
  return async (trx) => {
    const { rows } = await sql<{ id: number }>`
      select id from (select id, ${sql.ref(limits.column)} as "atMs" from ${sql.table(table)}
        order by id limit ${batchRows})
      where "atMs" < ${limits.beforeMs}
        or id <= (select max(id) from ${sql.table(table)}) - ${limits.rowsMax}`.execute(trx);
    await remove(
      trx,
      table,
      rows.map(({ id }) => id),
    );
    return rows.length === batchRows;
  };
}

/** Walks over the marks once, as those of devices that are away stay. */
function marks(nowMs: number): Batch {
  let after = 0;
  return async (trx) => {
    const { rows } = await sql<{
      number: number;
      receivedAtMs: number;
      standing: string | null;
      outboxEmptyAtMs: number | null;
    }>`select received.rowid as number, received."receivedAtMs", devices.standing, devices."outboxEmptyAtMs"
      from received left join devices on devices.id = received.device
      where received.rowid > ${after} order by received.rowid limit ${batchRows}`.execute(trx);
    const forgotten = rows.filter((row) => mayForget(row, nowMs));
    await remove(
      trx,
      "received",
      forgotten.map(({ number }) => number),
    );
    const last = rows.at(-1);
    after = last?.number ?? after;
    return rows.length === batchRows && (last?.receivedAtMs ?? nowMs) < nowMs - transitMs;
  };
}

function surplusMarks(): Batch {
  return async (trx) => {
    const { rows } = await sql<{ device: string; surplus: number }>`
      select device, count(*) - ${marksPerDeviceMax} as surplus from received
      group by device having count(*) > ${marksPerDeviceMax} limit 1`.execute(trx);
    const [most] = rows;
    if (most === undefined) return false;
    const { rows: oldest } = await sql<{ number: number }>`
      select rowid as number from received where device = ${most.device}
      order by rowid limit ${Math.min(batchRows, most.surplus)}`.execute(trx);
    await remove(
      trx,
      "received",
      oldest.map(({ number }) => number),
    );
    return true;
  };
}

async function remove(trx: Database, table: string, rowids: readonly number[]): Promise<void> {
  if (rowids.length === 0) return;
  const isForgotten = sql<SqlBool>`rowid in (select value from json_each(${JSON.stringify(rowids)}))`;
  await sql`delete from ${sql.table(table)} where ${isForgotten}`.execute(trx);
}
