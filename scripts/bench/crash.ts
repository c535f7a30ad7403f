/** Crash safety by enumeration: every point at which an update can be disturbed, each tried once. */
import { effectsPart } from "./crash/effects/part.ts";
import type { CrashPart } from "./crash/part.ts";
import { systemCallsPart } from "./crash/syscalls/part.ts";
import type { Benchmark } from "./frame.ts";

const parts: readonly CrashPart[] = [effectsPart, systemCallsPart];

export const crashBenchmark: Benchmark = {
  name: "crash",
  summary:
    "an update cut off, starved and lied to at each of its effects and system calls, and planted faults",
  async run(say) {
    const outcomes = [];
    for (const part of parts) outcomes.push(await part.run((line) => say(`${part.name}: ${line}`)));
    return {
      rows: outcomes.flatMap(({ rows }) => rows),
      bars: outcomes.flatMap(({ bars }) => bars),
    };
  },
};
