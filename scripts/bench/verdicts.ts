/**
 * The stated errors of a rollout, held against simulation: false rollbacks of healthy releases under
 * hostile nulls, power, false promotions of concentrated harm, and rivals that must be seen to fail.
 */
import { type ChildProcess, fork } from "node:child_process";
import os from "node:os";
import { fileURLToPath } from "node:url";
import {
  resultOf,
  type Study,
  type StudyResult,
  studies,
  type Tally,
} from "../simulate/verdicts/studies.ts";
import type { Benchmark } from "./frame.ts";

const entry = fileURLToPath(new URL("../simulate/verdicts/study-main.ts", import.meta.url));

export const verdictsBenchmark: Benchmark = {
  name: "verdicts",
  summary:
    "false rollbacks, power and false promotions of the fleet's verdicts, beside other gates",
  async run(say) {
    const workers = os.cpus().map(() => fork(entry));
    const results: StudyResult[] = [];
    try {
      for (const study of studies) {
        const result = await shared(workers, study);
        results.push(result);
        say(
          `${result.name}: ${result.value.toPrecision(3)}, ${study.limit.kind} ${result.limit.toPrecision(3)} ${result.ok ? "" : "SHORT"}`,
        );
      }
    } finally {
      for (const worker of workers) worker.kill();
    }
    return {
      rows: results.map((result) => ({ ...result })),
      bars: results.map(({ name, value, limit, ok }) => ({ name, value, limit, ok })),
    };
  },
};

async function shared(workers: readonly ChildProcess[], study: Study): Promise<StudyResult> {
  const runs = Math.ceil(study.runs / workers.length);
  const tallies = await Promise.all(
    workers.map((worker, at) => ask(worker, { name: study.name, from: at * runs, runs })),
  );
  return resultOf(study, tallies);
}

function ask(worker: ChildProcess, order: object): Promise<Tally> {
  return new Promise((resolve, reject) => {
    const died = (code: number | null) => reject(new Error(`a study process ended with ${code}`));
    worker.once("exit", died);
    worker.once("message", (tally) => {
      worker.off("exit", died);
      resolve(tally as Tally);
    });
    worker.send(order);
  });
}
