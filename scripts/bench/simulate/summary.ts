/** From the results of seeds to rows by fleet, mix, release and operator, and to bars. */

import { defaultRules } from "../../../controller/rollout/evidence/rules.ts";
import { isBroken, releases } from "../../simulate/fleet/releases.ts";
import type { SeedResult } from "../../simulate/fleet/run-seed.ts";
import { percentile } from "../../simulate/percentile.ts";
import { atLeast, atMost, type Bar, median, type Row } from "../frame.ts";
import { type Job, largeDevices, largeSeeds, smallDevices, smallSeeds } from "./jobs.ts";

export interface Ran {
  readonly job: Job;
  readonly result: SeedResult;
  /** Of the process that ran it, its start included. */
  readonly tookMs: number;
}

/** Minutes that the seeds took, or take, on so many processes side by side. */
export function minutesOn(processes: number, ran: readonly Ran[]): number {
  return ran.reduce((sum, { tookMs }) => sum + tookMs, 0) / processes / msPerMinute;
}

const msPerMinute = 60_000;
const { beta } = defaultRules;
const deltaMax = Math.max(...defaultRules.signals.map((signal) => signal.deltaMax));
const standardErrors = 3;
const exposedShareMax = 0.25;
/** On two cores, for the fleets of 10,000 and of 100; those that prove come on top. */
const minutesBar = 90;

export function rowsOf(all: readonly Ran[], processes: number): Row[] {
  const groups = Map.groupBy(all, ({ job: { devices, mix, release, operator } }) =>
    [devices, mix, release, operator].join(" "),
  );
  return [...groups.values()].map((runs) => rowOf(runs, processes));
}

function rowOf(runs: readonly Ran[], processes: number): Row {
  const [first] = runs;
  const statuses = Map.groupBy(runs, ({ result }) => result.status);
  return {
    devices: first?.job.devices ?? 0,
    mix: first?.job.mix ?? "",
    release: first?.job.release ?? "",
    operator: first?.job.operator ?? "",
    seeds: runs.length,
    minutes: minutesOn(processes, runs),
    ended: [...statuses].map(([status, of]) => `${of.length} ${status}`).join(", "),
    committedShareMedian: median(runs.map(exposedShare)),
    ...minutesOf(
      "stopMinutes",
      runs.map(({ result }) => result.stopMs),
    ),
    ...minutesOf(
      "harmMinutes",
      runs.map(({ result }) => result.harmMs),
    ),
    decided: runs.reduce((sum, { result }) => sum + result.decided, 0),
    faults: faultsOf(runs),
  };
}

/** Median and 99th percentile of the seeds that have one. */
function minutesOf(name: string, times: readonly (number | null)[]): Row {
  const minutes = times.filter((time) => time !== null).map((time) => time / msPerMinute);
  return {
    [`${name}Median`]: percentile(minutes, 0.5),
    [`${name}P99`]: percentile(minutes, 0.99),
  };
}

const faultsOf = (runs: readonly Ran[]) =>
  runs.reduce((sum, { result }) => sum + result.faults.length, 0);
const exposedShare = ({ result }: Ran) => result.committed / result.devices;
const reachedAll = ({ result }: Ran) => result.status === "completed";
const isHarmful = ({ job }: Ran) => releases[job.release].meanDrop >= deltaMax;

/**
 * A promise on drops is one of the product: in a fleet that can prove a release the proof keeps it, in a
 * small one that nothing goes on without a person. What a person lets pass is in the rows.
 */
export function barsOf(all: readonly Ran[], processes: number): Bar[] {
  const alone = all.filter((run) => isHarmful(run) && run.job.operator === "absent");
  const isSmall = ({ job }: Ran) => job.devices <= smallDevices;
  const breaking = all.filter(({ job }) => isBroken(job.release, job.mix));
  const [large, small] = [largeDevices, smallDevices].map((devices) =>
    all.filter(({ job }) => job.devices === devices),
  ) as [Ran[], Ran[]];
  return [
    atMost("faults that the checkers found", faultsOf(all), 0),
    atMost(
      `releases that break every device and left the canary, of ${breaking.length}`,
      breaking.filter(({ result }) => result.leftCanary).length,
      0,
    ),
    ...dropBars(
      "in a fleet that can prove",
      alone.filter((run) => !isSmall(run)),
    ),
    ...dropBars(`in a fleet of ${smallDevices} without a person`, alone.filter(isSmall)),
    atLeast(`seeds of ${largeDevices} devices`, large.length, largeSeeds),
    atLeast(`seeds of ${smallDevices} devices`, small.length, smallSeeds),
    atMost("minutes of these seeds", minutesOn(processes, [...large, ...small]), minutesBar),
  ];
}

function dropBars(where: string, harmful: readonly Ran[]): Bar[] {
  const reached = harmful.filter(reachedAll).length / harmful.length;
  const limit = beta + standardErrors * Math.sqrt((beta * (1 - beta)) / harmful.length);
  return [
    atMost(`share of harmful releases that reached all ${where}`, reached, limit),
    atMost(
      `median share of devices that ran a harmful release ${where}`,
      median(harmful.map(exposedShare)),
      exposedShareMax,
    ),
  ];
}
