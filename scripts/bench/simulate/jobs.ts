/**
 * What the benchmark runs: which fleets, releases, mixes of faults and operators, and how many seeds of each.
 * The full sizes are the defaults; smaller ones come from the environment for a quick look.
 */
import { type MixName, mixes } from "../../simulate/fleet/mixes.ts";
import type { OperatorName } from "../../simulate/fleet/operators.ts";
import { isBroken, type ReleaseName, releases } from "../../simulate/fleet/releases.ts";
import type { SeedOrder } from "../../simulate/fleet/run-seed.ts";

export interface Job extends SeedOrder {
  readonly devices: number;
}

const sizeOf = (name: string, usual: number): number => Number(process.env[name] ?? usual);

export const largeDevices = 10_000;
export const largeSeeds = sizeOf("SIMULATE_LARGE_SEEDS", 5);
export const smallDevices = 100;
export const smallSeeds = sizeOf("SIMULATE_SMALL_SEEDS", 5_000);
/**
 * A proof takes 290 pairs, which 1,160 devices form when none of them fails; faults cost some of the pairs,
 * and a healthy release that looks a little worse by chance needs more of them.
 */
const provingDevices = 1_600;
const provingSeeds = sizeOf("SIMULATE_PROVING_SEEDS", 8);
/** No seed is begun after this, in all parts of a run together: a slow machine takes longer than the bar allows. */
export const minutesMax = sizeOf("SIMULATE_MINUTES", 240);

type Cell = Omit<Job, "seed">;
const releaseNames = Object.keys(releases) as ReleaseName[];
const mixNames = Object.keys(mixes) as MixName[];
const droppingReleases = releaseNames.filter((name) => releases[name].meanDrop > 0);
const triedEverywhere: readonly ReleaseName[] = ["healthy", "drop-20"];
const operatorsTried: readonly OperatorName[] = ["absent", "trusting"];

/** `count` seeds over the cells in turn, so that a run that is cut short has seen all of them. */
const inTurn = (cells: readonly Cell[], count: number): Job[] =>
  Array.from({ length: count }, (_, at) => {
    const cell = cells[at % cells.length];
    if (cell === undefined) throw new Error("there are cells");
    return { ...cell, seed: at + 1 };
  });

/** One process runs them, since two such fleets do not fit into memory. */
export function largeJobs(): Job[] {
  const tried: readonly ReleaseName[] = ["healthy", "drop-20", "crash", "drop-3", "healthy"];
  const cells = tried.map((release) => ({
    devices: largeDevices,
    mix: "all" as const,
    operator: "absent" as const,
    release,
  }));
  return inTurn(cells, largeSeeds);
}

export function provingJobs(): Job[] {
  const cells = ["healthy" as const, ...droppingReleases].map((release) => ({
    devices: provingDevices,
    mix: "all" as const,
    operator: "absent" as const,
    release,
  }));
  return inTurn(cells, provingSeeds * cells.length);
}

export const smallJobs = (): Job[] => inTurn(smallCells(), smallSeeds);

/**
 * Every mix with what is healthy, what breaks everybody and one drop; all drops with and without a person who
 * promotes.
 */
function smallCells(): Cell[] {
  const devices = smallDevices;
  return [
    ...mixNames.flatMap((mix) =>
      releaseNames
        .filter((release) => triedEverywhere.includes(release) || isBroken(release, mix))
        .map((release) => ({ devices, mix, release, operator: "trusting" as const })),
    ),
    ...droppingReleases.flatMap((release) =>
      operatorsTried
        .filter((operator) => operator === "absent" || !triedEverywhere.includes(release))
        .map((operator) => ({ devices, mix: "all" as const, release, operator })),
    ),
  ];
}
