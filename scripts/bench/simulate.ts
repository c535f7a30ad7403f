/**
 * Whole fleets in virtual time: releases that are healthy, broken or worse where some devices stand, under
 * every mix of faults. Rows say how each ended and how long that took; bars are what is promised.
 */
import { type ChildProcess, fork } from "node:child_process";
import os from "node:os";
import { fileURLToPath } from "node:url";
import { repeatCommand } from "../simulate/fleet/repeat.ts";
import type { SeedResult } from "../simulate/fleet/run-seed.ts";
import type { Benchmark } from "./frame.ts";
import { type Job, largeJobs, minutesMax, provingJobs, smallJobs } from "./simulate/jobs.ts";
import { barsOf, type Ran, rowsOf } from "./simulate/summary.ts";

const entry = fileURLToPath(new URL("../simulate/fleet/worker-main.ts", import.meta.url));
const msPerMinute = 60_000;
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
    const startedMs = performance.now();
    const minutes = () => (performance.now() - startedMs) / msPerMinute;
    const [large, proving, small] = [largeJobs(), provingJobs(), smallJobs()];
    const ran: Ran[] = [];
    const decided = () => ran.reduce((sum, { result }) => sum + result.decided, 0);
    const note = (job: Job, result: SeedResult) => {
      ran.push({ job, result });
      const left = result.leftCanary ? [`${job.release} left the canary`] : [];
      for (const fault of [...result.faults, ...left]) say(`${fault}; repeat: ${repeat(job)}`);
      if (ran.length % 50 === 0 || job.devices > 1_000) say(told(ran.length, decided(), minutes()));
    };
    const work = async (queue: () => Job | undefined) => {
      let worker = fork(entry, { execArgv });
      let devices = 0;
      try {
        for (let job = queue(); job !== undefined && minutes() < minutesMax; job = queue()) {
          if (devices >= devicesPerProcess) {
            worker.kill();
            worker = fork(entry, { execArgv });
            devices = 0;
          }
          note(job, await ask(worker, job));
          devices += job.devices;
        }
      } finally {
        worker.kill();
      }
    };
    // A process stays with fleets of one size as long as there are any: another size is made anew.
    const processes = Math.max(1, os.availableParallelism());
    await Promise.all(
      Array.from({ length: processes }, (_, at) =>
        work(() =>
          at === 0
            ? (large.shift() ?? proving.shift() ?? small.shift())
            : (small.shift() ?? proving.shift()),
        ),
      ),
    );
    say(told(ran.length, decided(), minutes()));
    return { rows: rowsOf(ran), bars: barsOf(ran, minutes(), minutesMax) };
  },
};

const told = (seeds: number, decided: number, minutes: number) =>
  `${seeds} seeds, ${decided} device-updates in ${minutes.toFixed(1)} minutes, ${(decided / minutes / 60).toFixed(1)} per second`;

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
