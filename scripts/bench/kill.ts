/**
 * A fleet of real processes under what happens in the field: programs killed in the middle of updates, and
 * releases that are bad in ways which a trial sees, or only a thousand inputs later.
 */
import type { Benchmark } from "./frame.ts";
import { runKills } from "./kill/kills.ts";
import { runReleases } from "./kill/releases.ts";

/** `FLEETFIT_KILL_PARTS=releases` runs one part alone. */
const parts = { kills: runKills, releases: runReleases } as const;

export const killBenchmark: Benchmark = {
  name: "kill",
  summary: "programs killed at random moments of an update; bad releases stopped in the canary",
  async run(say) {
    const wanted = process.env["FLEETFIT_KILL_PARTS"]?.split(",") ?? Object.keys(parts);
    const outcomes = [];
    for (const [name, run] of Object.entries(parts))
      if (wanted.includes(name)) outcomes.push(await run(say));
    return {
      rows: outcomes.flatMap(({ rows }) => rows),
      bars: outcomes.flatMap(({ bars }) => bars),
    };
  },
};
