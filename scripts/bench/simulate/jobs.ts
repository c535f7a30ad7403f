/**
 * What the benchmark runs: which fleets, releases and mixes of faults, and how many seeds of each. The full
 * sizes are the defaults; smaller ones come from the environment for a quick look.
 */
import { type MixName, mixes, type ReleaseName, releases } from "../../simulate/fleet/mixes.ts";

export interface Job {
  readonly devices: number;
  readonly seed: number;
  readonly mix: MixName;
  readonly release: ReleaseName;
}

const sizeOf = (name: string, usual: number): number => Number(process.env[name] ?? usual);

export const largeDevices = 10_000;
export const largeSeeds = sizeOf("SIMULATE_LARGE_SEEDS", 5);
export const smallDevices = 100;
export const smallSeeds = sizeOf("SIMULATE_SMALL_SEEDS", 5_000);
/** Fleets that are large enough to prove a release, for what the promises say of drops. */
const provingDevices = 1_000;
const provingSeeds = sizeOf("SIMULATE_PROVING_SEEDS", 20);
/** No seed is begun after this. */
export const minutesMax = sizeOf("SIMULATE_MINUTES", 90);

type Cell = Omit<Job, "seed">;
const releaseNames = Object.keys(releases) as ReleaseName[];
const brokenReleases = releaseNames.filter((name) => releases[name].broken);
const droppingReleases = releaseNames.filter((name) => releases[name].meanDrop > 0);

/** `count` seeds over the cells in turn, so that a run that is cut short has seen all of them. */
const inTurn = (cells: readonly Cell[], count: number): Job[] =>
  Array.from({ length: count }, (_, at) => {
    const cell = cells[at % cells.length];
    if (cell === undefined) throw new Error("there are cells");
    return { ...cell, seed: at + 1 };
  });

/** Few and long: one process runs them, since two such fleets do not fit into memory. */
export function largeJobs(): Job[] {
  const tried: readonly ReleaseName[] = ["healthy", "drop-20", "crash", "drop-3", "healthy"];
  const cells = tried.map((release) => ({ devices: largeDevices, mix: "all" as const, release }));
  return inTurn(cells, largeSeeds);
}

export function otherJobs(): Job[] {
  const small = (mix: MixName, release: ReleaseName) => ({ devices: smallDevices, mix, release });
  const smallCells = [
    ...(Object.keys(mixes) as MixName[]).flatMap((mix) => [
      small(mix, "healthy"),
      ...brokenReleases.map((release) => small(mix, release)),
    ]),
    ...droppingReleases.map((release) => small("all", release)),
  ];
  const provingCells = ["healthy" as const, ...droppingReleases].map((release) => ({
    devices: provingDevices,
    mix: "all" as const,
    release,
  }));
  const proving = inTurn(provingCells, provingSeeds * provingCells.length);
  return evenly(proving, inTurn(smallCells, smallSeeds));
}

/** Both lists in their order, each spread over the whole. */
function evenly(some: readonly Job[], others: readonly Job[]): Job[] {
  const placed = [some, others].flatMap((jobs) =>
    jobs.map((job, at) => ({ job, place: (at + 0.5) / jobs.length })),
  );
  return placed.sort((a, b) => a.place - b.place).map(({ job }) => job);
}
