/** Jobs that do not run to their end: cancelled, cut off by a restart, too long, too hungry. */
import { afterEach, expect, it } from "vitest";
import type { ControllerConfig } from "../../controller/config.ts";
import type { RunningController } from "../../controller/controller.ts";
import { createJobs, type Jobs } from "../../controller/jobs/queue.ts";
import { importVersion } from "../../controller/models/import.ts";
import type { Database } from "../../controller/storage/database.ts";
import type { Processes } from "../../shared/ports/processes.ts";
import { realPorts, startTestController, temporaryFolder } from "../helpers/test-controller.ts";
import { tinyGolden, tinyInterface, tinyModelBytes } from "../helpers/tiny-classifier.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** Real children, with the process ids of those that were forked. */
function watchedProcesses(): Processes & { pids: number[] } {
  const { processes } = realPorts();
  const pids: number[] = [];
  return {
    pids,
    fork(entry, options) {
      const child = processes.fork(entry, options);
      if (child.pid !== undefined) pids.push(child.pid);
      return child;
    },
  };
}

async function imported(config: Partial<ControllerConfig> = {}, folder?: string) {
  const temporary = temporaryFolder();
  ends.push(temporary.remove);
  const processes = watchedProcesses();
  const dataDir = folder ?? temporary.folder;
  const controller = await startTestController(dataDir, { config, ports: { processes } });
  ends.push(() => controller.stop());
  const { ctx } = controller;
  const files: Record<string, string> = {};
  for (const [name, bytes] of Object.entries(tinyGolden({ count: 4_000 })))
    files[name] = await ctx.blobs.put(bytes);
  await importVersion(ctx, {
    model: "tiny",
    version: "1",
    sourceSha256: await ctx.blobs.put(tinyModelBytes()),
    golden: { manifest: "golden.json", files },
    interface: tinyInterface,
  });
  const jobs = createJobs(ctx);
  ends.push(() => jobs.stop());
  processes.pids.length = 0;
  return { controller, jobs, processes, dataDir };
}

async function until(jobs: Jobs, id: string, ...statuses: string[]) {
  for (;;) {
    const job = await jobs.get(id);
    if (statuses.includes(job.status)) return job;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

const compress = { model: "tiny", version: "1" };

it("a cancelled job leaves no process; the one behind it runs", async () => {
  const { jobs, processes, controller } = await imported();
  const first = await jobs.startCompress(compress);
  const second = await jobs.startCompress({ ...compress, recipes: ["fp32-clean"] });
  const third = await jobs.startCompress(compress);
  await until(jobs, first.id, "running");
  expect((await jobs.cancel(third.id)).status).toBe("cancelled");
  await jobs.cancel(first.id);
  expect(await until(jobs, first.id, "cancelled", "done")).toMatchObject({ status: "cancelled" });
  expect(isAlive(processes.pids[0]!)).toBe(false);
  expect((await until(jobs, second.id, "done", "failed")).status).toBe("done");
  await expect(jobs.cancel(first.id)).rejects.toMatchObject({ code: "conflict" });
  const rows = await controller.ctx.db.selectFrom("variants").select("recipe").execute();
  expect(rows.map(({ recipe }) => recipe)).toContain("fp32-clean");
});

it("a job that a stop cut off runs again, and makes the same bundles", async () => {
  const { controller, jobs, dataDir } = await imported();
  const job = await jobs.startCompress(compress);
  await until(jobs, job.id, "running");
  await jobs.stop();
  expect((await jobs.get(job.id)).status).toBe("queued");
  await stop(controller);

  const again = await startTestController(dataDir);
  ends.push(() => again.stop());
  const later = createJobs(again.ctx);
  expect((await until(later, job.id, "done", "failed")).status).toBe("done");
  const bundles = () =>
    again.ctx.db
      .selectFrom("variants")
      .select(["recipe", "bundleSha256"])
      .orderBy("recipe")
      .execute();
  const made = await bundles();
  expect(made).toHaveLength(again.ctx.fleet.recipes.length);
  await again.ctx.db.deleteFrom("variants").execute();
  const repeat = await later.startCompress(compress);
  ends.push(() => later.stop());
  expect((await until(later, repeat.id, "done", "failed")).status).toBe("done");
  expect(await bundles()).toEqual(made);
});

it("a job that was cut off again and again is given up, one that was cut off twice is not", async () => {
  const { controller, jobs } = await imported();
  const { db } = controller.ctx;
  const cutOff = (id: string) =>
    db.updateTable("jobs").set({ status: "running" }).where("id", "=", id).execute();
  const order = { ...compress, recipes: ["fp32-clean"] };
  const { id } = await jobs.startCompress(order);
  await until(jobs, id, "done");
  for (const ending of ["done", "done", "failed"]) {
    await cutOff(id);
    const later = createJobs(controller.ctx);
    ends.push(() => later.stop());
    await later.start();
    expect((await until(later, id, "done", "failed")).status).toBe(ending);
  }
  expect((await jobs.get(id)).error).toEqual({
    code: "job-failed",
    message: expect.stringMatching(/ended 3 times while it ran/),
  });
});

it("a job that is queued while the worker sees an empty queue is not left lying", async () => {
  const { controller } = await imported();
  const { ctx } = controller;
  const jobs = createJobs({ ...ctx, db: lateAnswers(ctx.db, 200) });
  ends.push(() => jobs.stop());
  const order = { ...compress, recipes: ["fp32-clean"] };
  await until(jobs, (await jobs.startCompress(order)).id, "done");
  // The worker has looked again by now and found nothing, but does not know it yet.
  await until(jobs, (await jobs.startCompress(order)).id, "done");
}, 20_000);

/** A database whose transactions answer some time after they have ended, as over a network. */
function lateAnswers(db: Database, delayMs: number): Database {
  const late: Pick<ReturnType<Database["transaction"]>, "execute"> = {
    async execute(work) {
      const result = await db.transaction().execute(work);
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      return result;
    },
  };
  return new Proxy(db, {
    get(target, key) {
      if (key === "transaction") return () => late;
      const value: unknown = Reflect.get(target, key);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

it("what a recipe made stays, so asking again is quick and changes nothing", async () => {
  const { controller, jobs, processes } = await imported();
  const order = { ...compress, recipes: ["fp32-clean"] };
  await until(jobs, (await jobs.startCompress(order)).id, "done");
  const rows = () => controller.ctx.db.selectFrom("variants").selectAll().execute();
  const before = await rows();
  processes.pids.length = 0;
  await until(jobs, (await jobs.startCompress(order)).id, "done");
  expect(processes.pids).toEqual([]);
  expect(await rows()).toEqual(before);
});

it("a job beyond its time is killed and says so", async () => {
  const { jobs, processes } = await imported({ jobTimeoutMs: 1_000 });
  const job = await jobs.startCompress(compress);
  expect(await until(jobs, job.id, "failed", "done")).toMatchObject({
    status: "failed",
    error: { code: "job-failed", message: expect.stringMatching(/longer than 1000 ms/) },
  });
  expect(isAlive(processes.pids[0]!)).toBe(false);
});

it("a job beyond its memory ends and says so", async () => {
  const { jobs, processes } = await imported({ jobMemoryBytesMax: 64 * 2 ** 20 });
  const job = await jobs.startCompress(compress);
  expect(await until(jobs, job.id, "failed", "done")).toMatchObject({
    status: "failed",
    error: { code: "job-failed", message: expect.stringMatching(/memory; the limit is 67108864/) },
  });
  expect(isAlive(processes.pids[0]!)).toBe(false);
});

it("a worker that dies is a failed job, not a dead controller", async () => {
  const { jobs, processes } = await imported();
  const job = await jobs.startCompress(compress);
  while (processes.pids.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  process.kill(processes.pids[0]!, "SIGKILL");
  expect(await until(jobs, job.id, "failed", "done")).toMatchObject({
    status: "failed",
    error: { code: "job-failed", message: expect.stringMatching(/SIGKILL/) },
  });
});

it("unknown recipes and versions are refused before there is a job", async () => {
  const { jobs } = await imported();
  await expect(jobs.startCompress({ ...compress, recipes: ["nonsense"] })).rejects.toMatchObject({
    code: "recipe-unknown",
  });
  await expect(jobs.startCompress({ ...compress, version: "9" })).rejects.toMatchObject({
    code: "not-found",
  });
  expect(await jobs.list()).toEqual([]);
});

/** Stops a controller now instead of after the test. */
async function stop(controller: RunningController): Promise<void> {
  await controller.stop();
  ends.splice(1);
}
