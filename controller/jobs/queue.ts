/**
 * Jobs in the database, one at a time, each in a child process that may be killed. A job that a
 * restart interrupted is run again: its results are named by content, so doing them twice is harmless.
 */
import { z } from "zod";
import { FleetError, isErrorCode } from "../../shared/errors.ts";
import type { ControllerContext } from "../context.ts";
import type { JobTable } from "../storage/schema.ts";
import { type CompressInput, compressInputSchema, runCompress } from "./compress-job.ts";

const idBytes = 6;
const errorSchema = z.object({ code: z.string(), message: z.string() });

export interface JobView {
  readonly id: string;
  readonly kind: string;
  readonly status: string;
  readonly progressFraction: number;
  readonly message: string;
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly createdAtMs: number;
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
  const stopping = new AbortController();
  let current: { id: string; abort: AbortController } | undefined;
  let working: Promise<void> | undefined;

  const save = async (id: string, change: Partial<JobTable>): Promise<void> => {
    await ctx.db.updateTable("jobs").set(change).where("id", "=", id).execute();
  };
  const runOne = async (job: JobTable): Promise<void> => {
    const abort = new AbortController();
    current = { id: job.id, abort };
    await save(job.id, { status: "running", startedAtMs: ctx.clock.wallMs() });
    try {
      const input = compressInputSchema.parse(JSON.parse(job.inputJson));
      await runCompress(
        ctx,
        input,
        AbortSignal.any([abort.signal, stopping.signal]),
        (fraction, message) => save(job.id, { progressFraction: fraction, message }),
      );
      await save(job.id, {
        status: "done",
        progressFraction: 1,
        message: "done",
        finishedAtMs: ctx.clock.wallMs(),
      });
    } catch (error) {
      if (stopping.signal.aborted) return;
      await save(job.id, {
        ...endingOf(error, abort.signal.aborted),
        finishedAtMs: ctx.clock.wallMs(),
      });
    } finally {
      current = undefined;
    }
  };
  const wake = (): void => {
    if (working !== undefined || stopping.signal.aborted) return;
    working = drain().finally(() => {
      working = undefined;
    });
  };
  const drain = async (): Promise<void> => {
    for (;;) {
      const next = await ctx.db
        .selectFrom("jobs")
        .selectAll()
        .where("status", "=", "queued")
        .orderBy("createdAtMs")
        .orderBy("id")
        .executeTakeFirst();
      if (next === undefined || stopping.signal.aborted) return;
      await runOne(next);
    }
  };
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
      wake();
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
      const job = await get(id);
      if (job.status === "queued") {
        await save(id, { status: "cancelled", finishedAtMs: ctx.clock.wallMs() });
      } else if (current?.id === id)
        current.abort.abort(new FleetError("job-cancelled", "an operator cancelled it"));
      else throw new FleetError("conflict", `job ${id} is ${job.status}`);
      return get(id);
    },
    async start() {
      await ctx.db
        .updateTable("jobs")
        .set({ status: "queued" })
        .where("status", "=", "running")
        .execute();
      wake();
    },
    async stop() {
      stopping.abort();
      await working;
    },
  };
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
    finishedAtMs: row.finishedAtMs,
  };
}
