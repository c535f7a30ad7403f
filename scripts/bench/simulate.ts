/**
 * Whole fleets in virtual time: releases that are healthy, broken or worse where some devices stand, under
 * every mix of faults. Rows say how each ended and how long that took; bars are what is promised.
 *
 * A run that is cut off goes on where it stopped; its minutes are those of all its parts.
 */
import { type ChildProcess, fork } from "node:child_process";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { repeatCommand } from "../simulate/fleet/repeat.ts";
import type { SeedResult } from "../simulate/fleet/run-seed.ts";
import type { Benchmark } from "./frame.ts";
import { type Job, largeJobs, minutesMax, provingJobs, smallJobs } from "./simulate/jobs.ts";
import { type KeptSeeds, keptSeeds } from "./simulate/kept-seeds.ts";
import { barsOf, minutesOn, type Ran, rowsOf } from "./simulate/summary.ts";

const projectRoot = path.resolve(import.meta.dirname, "../..");
const keptFolder = path.join(projectRoot, ".cache", "bench-simulate");
const entry = fileURLToPath(new URL("../simulate/fleet/worker-main.ts", import.meta.url));
/**
 * A tenth of the processor time went into the stacks of errors that programs expect (measured 2026-11). The
 * heap of 10,000 devices may pass what Node allows by itself, which depends on the machine.
 */
const execArgv = ["--stack-trace-limit=0", "--max-old-space-size=8192"];

/**
 * A process is made anew after so many: Node keeps every composite AbortSignal that somebody listens to, and with
 * it the world of a seed that is over, about 150 kB a device (measured 2026-11, Node 24.21).
 */
const devicesPerProcess = 10_000;

export const simulateBenchmark: Benchmark = {
  name: "simulate",
  summary:
    "rollouts to 10,000, 1,600 and 100 simulated devices under seeded faults: faults, promises kept, updates per second",
  async run(say) {
    const kept = keptSeeds(projectRoot, keptFolder);
    const processes = Math.max(1, os.availableParallelism());
    const ran = [...kept.done];
    if (ran.length > 0) say(`going on after ${told(ran, processes)}`);
    const note = (one: Ran) => {
      kept.add(one);
      ran.push(one);
      for (const fault of findingsOf(one)) say(`${fault}; repeat: ${repeat(one.job)}`);
      if (ran.length % 50 === 0 || one.job.devices > 1_000) say(told(ran, processes));
    };
    const mayBegin = () => minutesOn(processes, ran) < minutesMax;
    await Promise.all(queuesOf(kept, processes).map((next) => work(next, { mayBegin, note })));
    say(told(ran, processes));
    if (mayBegin()) kept.forget();
    return { rows: rowsOf(ran, processes), bars: barsOf(ran, processes) };
  },
};

/** For each process what it runs next: as long as there are any, fleets of one size, since another is made anew. */
function queuesOf(kept: KeptSeeds, processes: number): (() => Job | undefined)[] {
  const [large, proving, small] = [largeJobs(), provingJobs(), smallJobs()].map(kept.left) as [
    Job[],
    Job[],
    Job[],
  ];
  return Array.from({ length: processes }, (_, at) =>
    at === 0
      ? () => large.shift() ?? proving.shift() ?? small.shift()
      : () => small.shift() ?? proving.shift(),
  );
}

/** Runs jobs one after the other in processes of their own, while there are any and they may begin. */
async function work(
  next: () => Job | undefined,
  { mayBegin, note }: { mayBegin: () => boolean; note: (ran: Ran) => void },
): Promise<void> {
  let worker = fork(entry, { execArgv });
  let devices = 0;
  try {
    while (mayBegin()) {
      const job = next();
      if (job === undefined) return;
      const startedMs = performance.now();
      if (devices >= devicesPerProcess) {
        worker.kill();
        worker = fork(entry, { execArgv });
        devices = 0;
      }
      const result = await ask(worker, job);
      note({ job, result, tookMs: performance.now() - startedMs });
      devices += job.devices;
    }
  } finally {
    worker.kill();
  }
}

function findingsOf({ job, result }: Ran): string[] {
  return [...result.faults, ...(result.leftCanary ? [`${job.release} left the canary`] : [])];
}

function told(ran: readonly Ran[], processes: number): string {
  const decided = ran.reduce((sum, { result }) => sum + result.decided, 0);
  const minutes = minutesOn(processes, ran);
  return `${ran.length} seeds, ${decided} device-updates in ${minutes.toFixed(1)} minutes, ${(decided / minutes / 60).toFixed(1)} per second`;
}

const repeat = (job: Job) => repeatCommand(job.devices, job);

function ask(worker: ChildProcess, job: Job): Promise<SeedResult> {
  return new Promise((resolve, reject) => {
    const died = (code: number | null) =>
      reject(new Error(`the process of ${repeat(job)} ended with ${code}`));
    worker.once("exit", died);
    worker.once("message", (result) => {
      worker.off("exit", died);
      resolve(result as SeedResult);
    });
    worker.send(job);
  });
}
