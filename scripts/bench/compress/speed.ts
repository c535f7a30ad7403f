/**
 * CPU time of one inference: all files in one process on one thread in alternating order, the least of many
 * rounds, since another process can only add to it. Sessions are opened anew several times, because where
 * their memory happens to lie makes one file up to a tenth slower than its own copy.
 */
import { openSession } from "../../../shared/inference/session.ts";
import { feedOf } from "./answer.ts";
import { calibrationOf, type Subject } from "./subject.ts";

/** A round of one file lasts about this long, so that the clock's steps vanish in it. */
const roundMs = 2;
const repeatsMax = 400;
/** Of three copies of one file the slowest looked up to 10 % slower with 4 openings, 4 % with 10 (2026-12). */
const openings = 10;

/** Milliseconds of CPU per inference of one sample, by the files' names. */
export async function cpuTimesMs(
  files: ReadonlyMap<string, Uint8Array>,
  subject: Subject,
  rounds: number,
): Promise<Map<string, number>> {
  const leastMs = new Map<string, number>();
  for (let opening = 0; opening < openings; opening++) {
    const timesMs = await timesOfOneOpening(files, subject, Math.ceil(rounds / openings));
    for (const [name, timeMs] of timesMs) {
      leastMs.set(name, Math.min(timeMs, leastMs.get(name) ?? timeMs));
    }
  }
  return leastMs;
}

async function timesOfOneOpening(
  files: ReadonlyMap<string, Uint8Array>,
  subject: Subject,
  rounds: number,
): Promise<Map<string, number>> {
  const feed = feedOf(subject, calibrationOf(subject, 1), 0, 1);
  const runs = await Promise.all(
    [...files].map(async ([name, bytes]) => {
      const session = await openSession(bytes);
      const feeds = { [session.inputs[0]!.name]: feed };
      return { name, session, once: () => session.run(feeds), repeats: 1, leastMs: Infinity };
    }),
  );
  try {
    for (const run of runs) {
      await run.once();
      const firstMs = await cpuMs(run.once, 2);
      run.repeats = Math.min(repeatsMax, Math.max(1, Math.round(roundMs / firstMs)));
    }
    for (let round = 0; round < rounds; round++) {
      for (const run of round % 2 === 0 ? runs : runs.toReversed()) {
        run.leastMs = Math.min(run.leastMs, await cpuMs(run.once, run.repeats));
      }
    }
  } finally {
    await Promise.all(runs.map(({ session }) => session.release()));
  }
  return new Map(runs.map(({ name, leastMs }) => [name, leastMs]));
}

/** CPU time of one of `repeats` calls, user and system. */
async function cpuMs(once: () => Promise<unknown>, repeats: number): Promise<number> {
  const before = process.cpuUsage();
  for (let repeat = 0; repeat < repeats; repeat++) await once();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000 / repeats;
}
