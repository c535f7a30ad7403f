/**
 * Whole fleets in virtual time: every mix of faults with a healthy release, every release with all
 * faults at once. Rows say how fast and how it ended; the bar is that no seed shows a fault.
 */
import { type FleetState, makeFleetState } from "../simulate/fleet/fleet-state.ts";
import { type MixName, mixes, type ReleaseName, releases } from "../simulate/fleet/mixes.ts";
import { runSeed } from "../simulate/fleet/run-seed.ts";
import { makeFleetStart } from "../simulate/fleet/start.ts";
import { atMost, type Benchmark, median, type Row } from "./frame.ts";

const devices = 100;
const seeds = 5;

export const simulateBenchmark: Benchmark = {
  name: "simulate",
  summary: `rollouts to ${devices} simulated devices under seeded faults, ${seeds} seeds per mix and release`,
  async run(say) {
    const fleet = await makeFleetState(await makeFleetStart(devices), devices);
    const grid = [
      ...Object.keys(mixes).map((mix) => ({ mix: mix as MixName, release: "healthy" as const })),
      ...Object.keys(releases)
        .filter((release) => release !== "healthy")
        .map((release) => ({ mix: "all" as const, release: release as ReleaseName })),
    ];
    const rows: Row[] = [];
    let failed = 0;
    for (const cell of grid) {
      const { row, faults } = await runCell(fleet, cell);
      rows.push(row);
      failed += faults.length;
      for (const fault of faults) say(fault);
      say(`${cell.mix}, ${cell.release}: ${row["updatesPerSecond"]} device-updates per second`);
    }
    return { rows, bars: [atMost("faults found by the checkers", failed, 0)] };
  },
};

async function runCell(
  fleet: FleetState,
  cell: { mix: MixName; release: ReleaseName },
): Promise<{ row: Row; faults: string[] }> {
  const startedMs = performance.now();
  const results = [];
  for (let seed = 1; seed <= seeds; seed++)
    results.push({ seed, ...(await runSeed(fleet, { ...cell, seed })) });
  const seconds = (performance.now() - startedMs) / 1_000;
  const decided = results.reduce((sum, result) => sum + result.decided, 0);
  const minutes = results.map(({ tookMs }) => tookMs / 60_000);
  const shares = results.map(({ committed }) => committed / devices);
  const row = {
    ...cell,
    ended: [...new Set(results.map(({ status }) => status))].join(", "),
    decided,
    committedShareMedian: median(shares),
    minutesMedian: median(minutes),
    minutesMax: Math.max(...minutes),
    updatesPerSecond: Number((decided / seconds).toFixed(1)),
  };
  const faults = results.flatMap((result) =>
    result.faults.map((fault) => `${cell.mix}, ${cell.release}, seed ${result.seed}: ${fault}`),
  );
  return { row, faults };
}
