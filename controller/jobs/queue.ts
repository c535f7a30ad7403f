/**
 * Jobs in the database, one at a time, each in a child process that may be killed. A job that a
 * restart interrupted is run again: its results are named by content, so doing them twice is harmless.
 *
 * Invariant: no job is started for ever. A clean stop puts it back in the queue; one that is found
 * running was cut off, and after a few of those it may be what brings this machine down.
 */
import { z } from "zod";
import { FleetError, isErrorCode } from "../../shared/errors.ts";
import type { ControllerContext } from "../context.ts";
import type { Database } from "../storage/database.ts";
import { recordEvent } from "../storage/events/repository.ts";
import type { JobTable } from "../storage/schema.ts";
import { type CompressInput, compressInputSchema, runCompress } from "./compress-job.ts";

const idBytes = 6;
/** Times that a job may be found cut off: two for bad luck, the third is its own doing. */
const cutOffsMax = 3;
/** Kind of the event that counts them. */
const cutOffKind = "job-cut-off";
const errorSchema = z.object({ code: z.string(), message: z.string() });

export interface JobView {
  readonly id: string;
  readonly kind: string;
  readonly status: string;
  readonly progressFraction: number;
  readonly message: string;
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly createdAtMs: number;
  readonly startedAtMs: number | null;
  readonly finishedAtMs: number | null;
}

export interface Jobs {
  /** Errors: `not-found`, `recipe-unknown`. */
  startCompress(input: CompressInput): Promise<JobView>;
  get(id: string): Promise<JobView>;
  list(): Promise<JobView[]>;
  /** Kills a running job or drops a queued one. Errors: `not-found`, `conflict`. */
  cancel(id: string): Promise<JobView>;
  /** Takes up what a restart interrupted. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

export function createJobs(ctx: ControllerContext): Jobs {
  const worker = createWorker(ctx);
  const get = async (id: string): Promise<JobView> => {
    const row = await ctx.db.selectFrom("jobs").selectAll().where("id", "=", id).executeTakeFirst();
    if (row === undefined) throw new FleetError("not-found", `there is no job ${id}`);
    return viewOf(row);
  };
  return {
    get,
    async startCompress(input) {
      await requireStartable(ctx, input);
      const id = `j-${Buffer.from(ctx.random.bytes(idBytes)).toString("hex")}`;
      await ctx.db
        .insertInto("jobs")
        .values(newRow(id, input, ctx.clock.wallMs()))
        .execute();
      worker.wake();
      return get(id);
    },
    async list() {
      const rows = await ctx.db
        .selectFrom("jobs")
        .selectAll()
        .orderBy("createdAtMs", "desc")
        .execute();
      return rows.map(viewOf);
    },
    async cancel(id) {
      const dropped = await ctx.db
        .updateTable("jobs")
        .set({ status: "cancelled", message: "cancelled", finishedAtMs: ctx.clock.wallMs() })
        .where("id", "=", id)
        .where("status", "=", "queued")
        .executeTakeFirst();
      const ended = dropped.numUpdatedRows > 0n || worker.cancel(id);
      const job = await get(id);
      if (!ended) throw new FleetError("conflict", `job ${id} is ${job.status}`);
      return job;
    },
    async start() {
      await ctx.db.transaction().execute((trx) => queueCutOffJobs(ctx, trx));
      worker.wake();
    },
    stop: worker.stop,
  };
}

interface Worker {
  /** Looks for queued jobs, unless it is at one. */
  readonly wake: () => void;
  /** False when it is not at this job. */
  readonly cancel: (id: string) => boolean;
  /** Kills what runs and puts the job back in the queue, for the next start. */
  readonly stop: () => Promise<void>;
}

function createWorker(ctx: ControllerContext): Worker {
  const stopping = new AbortController();
  let current: { id: string; abort: AbortController } | undefined;
  let working: Promise<void> | undefined;
  // Set by each wake: a job that is queued while the last look finds nothing is not left lying.
  let wanted = false;

  const runOne = async (job: JobTable): Promise<void> => {
    const abort = new AbortController();
    current = { id: job.id, abort };
    try {
      const signals = { cancelled: abort.signal, stopped: stopping.signal };
      await save(ctx, job.id, await runJob(ctx, job, signals));
    } finally {
      current = undefined;
    }
  };
  const drain = async (): Promise<void> => {
    while (wanted && !stopping.signal.aborted) {
      wanted = false;
      const next = await takeNext(ctx);
      if (next === undefined) continue;
      wanted = true;
      await runOne(next);
    }
  };
  const wake = (): void => {
    wanted = true;
    if (working !== undefined || stopping.signal.aborted) return;
    working = drain()
      .catch((error: unknown) => ctx.log.error("jobs stand still", { error: String(error) }))
      .then(() => {
        working = undefined;
        if (wanted) wake();
      });
  };
  return {
    wake,
    cancel(id) {
      if (current?.id !== id) return false;
      current.abort.abort(new FleetError("job-cancelled", "an operator cancelled it"));
      return true;
    },
    async stop() {
      stopping.abort();
      await working;
    },
  };
}

async function save(ctx: ControllerContext, id: string, change: Partial<JobTable>): Promise<void> {
  await ctx.db.updateTable("jobs").set(change).where("id", "=", id).execute();
}

/** The oldest queued job, marked as running. */
function takeNext(ctx: ControllerContext): Promise<JobTable | undefined> {
  return ctx.db.transaction().execute(async (trx) => {
    const next = await trx
      .selectFrom("jobs")
      .selectAll()
      .where("status", "=", "queued")
      .orderBy("createdAtMs")
      .orderBy("id")
      .executeTakeFirst();
    if (next === undefined) return undefined;
    await trx
      .updateTable("jobs")
      .set({ status: "running", message: "starting", startedAtMs: ctx.clock.wallMs() })
      .where("id", "=", next.id)
      .execute();
    return next;
  });
}

/** Jobs that are marked as running when nothing can run: queued again, or given up. */
async function queueCutOffJobs(ctx: ControllerContext, trx: Database): Promise<void> {
  const atMs = ctx.clock.wallMs();
  const cutOff = await trx
    .selectFrom("jobs")
    .select("id")
    .where("status", "=", "running")
    .execute();
  for (const { id } of cutOff) {
    const message = "the controller ended while it ran";
    await recordEvent(trx, { atMs, kind: cutOffKind, subject: id, message });
    const events = await trx
      .selectFrom("events")
      .select("id")
      .where("kind", "=", cutOffKind)
      .where("subject", "=", id)
      .execute();
    await trx
      .updateTable("jobs")
      .set(events.length < cutOffsMax ? again : givenUp(atMs, events.length))
      .where("id", "=", id)
      .execute();
  }
}

const again = { status: "queued", message: "runs again after a restart" };

function givenUp(finishedAtMs: number, times: number): Partial<JobTable> {
  const why = `the controller ended ${times} times while it ran, so it is not tried again; free memory or leave out recipes`;
  const error = new FleetError("job-failed", why);
  return { ...endingOf(error, false), finishedAtMs };
}

/** What to store about its end; back in the queue when the program stops. */
async function runJob(
  ctx: ControllerContext,
  job: JobTable,
  signals: { cancelled: AbortSignal; stopped: AbortSignal },
): Promise<Partial<JobTable>> {
  try {
    const input = compressInputSchema.parse(JSON.parse(job.inputJson));
    const signal = AbortSignal.any([signals.cancelled, signals.stopped]);
    await runCompress(ctx, input, signal, (fraction, message) =>
      save(ctx, job.id, { progressFraction: fraction, message }),
    );
    const finishedAtMs = ctx.clock.wallMs();
    return { status: "done", progressFraction: 1, message: "done", finishedAtMs };
  } catch (error) {
    if (signals.stopped.aborted) return again;
    return { ...endingOf(error, signals.cancelled.aborted), finishedAtMs: ctx.clock.wallMs() };
  }
}

async function requireStartable(ctx: ControllerContext, input: CompressInput): Promise<void> {
  const version = await ctx.db
    .selectFrom("modelVersions")
    .select("model")
    .where("model", "=", input.model)
    .where("version", "=", input.version)
    .executeTakeFirst();
  if (version === undefined)
    throw new FleetError("not-found", `${input.model} ${input.version} was not imported`);
  for (const name of input.recipes ?? []) {
    if (!ctx.fleet.recipes.some((recipe) => recipe.name === name)) {
      throw new FleetError("recipe-unknown", `there is no recipe named ${name}`);
    }
  }
}

function newRow(id: string, input: CompressInput, nowMs: number): JobTable {
  return {
    id,
    kind: "compress",
    inputJson: JSON.stringify(input),
    status: "queued",
    progressFraction: 0,
    message: "queued",
    resultJson: null,
    errorJson: null,
    createdAtMs: nowMs,
    startedAtMs: null,
    finishedAtMs: null,
  };
}

function endingOf(
  error: unknown,
  cancelled: boolean,
): Pick<JobTable, "status" | "errorJson" | "message"> {
  const message = error instanceof Error ? error.message : String(error);
  if (cancelled) return { status: "cancelled", errorJson: null, message: "cancelled" };
  const code = error instanceof FleetError && isErrorCode(error.code) ? error.code : "job-failed";
  return { status: "failed", errorJson: JSON.stringify({ code, message }), message };
}

function viewOf(row: JobTable): JobView {
  return {
    id: row.id,
    kind: row.kind,
    status: row.status,
    progressFraction: row.progressFraction,
    message: row.message,
    error: row.errorJson === null ? null : errorSchema.parse(JSON.parse(row.errorJson)),
    createdAtMs: row.createdAtMs,
    startedAtMs: row.startedAtMs,
    finishedAtMs: row.finishedAtMs,
  };
}
