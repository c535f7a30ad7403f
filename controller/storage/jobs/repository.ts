/** Long work that outlives a request; what is `running` when the program starts is run again. */
import { z } from "zod";
import { FleetError } from "../../../shared/errors.ts";
import type { Database } from "../database.ts";

export type JobStatus = "queued" | "running" | "done" | "failed" | "cancelled";

const errorSchema = z.object({ code: z.string(), message: z.string() });
export type JobError = z.infer<typeof errorSchema>;

export interface StoredJob {
  readonly id: string;
  readonly kind: string;
  readonly input: unknown;
  readonly status: JobStatus;
  readonly progressFraction: number;
  readonly message: string;
  readonly error: JobError | null;
  readonly createdAtMs: number;
  readonly startedAtMs: number | null;
  readonly finishedAtMs: number | null;
}

export async function insertJob(
  db: Database,
  job: { id: string; kind: string; input: unknown; createdAtMs: number },
): Promise<void> {
  await db
    .insertInto("jobs")
    .values({
      id: job.id,
      kind: job.kind,
      inputJson: JSON.stringify(job.input),
      status: "queued",
      progressFraction: 0,
      message: "waiting for its turn",
      resultJson: null,
      errorJson: null,
      createdAtMs: job.createdAtMs,
      startedAtMs: null,
      finishedAtMs: null,
    })
    .execute();
}

/** Puts what was under way back into the queue; answers how many. */
export async function requeueRunning(db: Database): Promise<number> {
  const result = await db
    .updateTable("jobs")
    .set({ status: "queued", message: "runs again after a restart", startedAtMs: null })
    .where("status", "=", "running")
    .executeTakeFirst();
  return Number(result.numUpdatedRows);
}

/** Marks the oldest queued job as running and answers it. */
export async function takeJob(db: Database, nowMs: number): Promise<StoredJob | undefined> {
  return db.transaction().execute(async (trx) => {
    const next = await trx
      .selectFrom("jobs")
      .select("id")
      .where("status", "=", "queued")
      .orderBy("createdAtMs")
      .orderBy("id")
      .limit(1)
      .executeTakeFirst();
    if (next === undefined) return undefined;
    await trx
      .updateTable("jobs")
      .set({ status: "running", startedAtMs: nowMs, message: "starting" })
      .where("id", "=", next.id)
      .execute();
    return requireJob(trx, next.id);
  });
}

export async function setJobProgress(
  db: Database,
  id: string,
  progress: { fraction: number; message: string },
): Promise<void> {
  await db
    .updateTable("jobs")
    .set({ progressFraction: progress.fraction, message: progress.message })
    .where("id", "=", id)
    .where("status", "=", "running")
    .execute();
}

/** A finished job stays as it is; answers whether this call finished it. */
export async function finishJob(
  db: Database,
  id: string,
  end: {
    status: "done" | "failed" | "cancelled";
    message: string;
    error?: JobError;
    nowMs: number;
  },
): Promise<boolean> {
  const result = await db
    .updateTable("jobs")
    .set({
      status: end.status,
      message: end.message,
      errorJson: end.error === undefined ? null : JSON.stringify(end.error),
      finishedAtMs: end.nowMs,
      ...(end.status === "done" ? { progressFraction: 1 } : {}),
    })
    .where("id", "=", id)
    .where("status", "in", ["queued", "running"])
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

/** Newest first. */
export async function listJobs(
  db: Database,
  filter: { status?: readonly JobStatus[]; limit: number },
): Promise<StoredJob[]> {
  const rows = await db
    .selectFrom("jobs")
    .selectAll()
    .$if(filter.status !== undefined, (query) => query.where("status", "in", filter.status ?? []))
    .orderBy("createdAtMs", "desc")
    .orderBy("id", "desc")
    .limit(filter.limit)
    .execute();
  return rows.map(fromRow);
}

/** Errors: `not-found`. */
export async function requireJob(db: Database, id: string): Promise<StoredJob> {
  const row = await db.selectFrom("jobs").selectAll().where("id", "=", id).executeTakeFirst();
  if (row === undefined) throw new FleetError("not-found", `there is no job named ${id}`);
  return fromRow(row);
}

function fromRow(row: {
  id: string;
  kind: string;
  inputJson: string;
  status: string;
  progressFraction: number;
  message: string;
  errorJson: string | null;
  createdAtMs: number;
  startedAtMs: number | null;
  finishedAtMs: number | null;
}): StoredJob {
  const { id, kind, progressFraction, message, createdAtMs, startedAtMs, finishedAtMs } = row;
  return {
    id,
    kind,
    progressFraction,
    message,
    createdAtMs,
    startedAtMs,
    finishedAtMs,
    status: row.status as JobStatus,
    input: JSON.parse(row.inputJson),
    error: row.errorJson === null ? null : errorSchema.parse(JSON.parse(row.errorJson)),
  };
}
