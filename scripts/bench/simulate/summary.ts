/** From the results of seeds to rows by fleet, mix and release, and to bars. */

import { defaultRules } from "../../../controller/rollout/evidence/rules.ts";
import { type ReleaseName, releases } from "../../simulate/fleet/mixes.ts";
import type { SeedResult } from "../../simulate/fleet/run-seed.ts";
import { atLeast, atMost, type Bar, median, type Row } from "../frame.ts";
import { type Job, largeDevices, largeSeeds, smallDevices, smallSeeds } from "./jobs.ts";

export interface Ran {
  readonly job: Job;
  readonly result: SeedResult;
}

const msPerMinute = 60_000;
const { beta } = defaultRules;
const deltaMax = Math.max(...defaultRules.signals.map((signal) => signal.deltaMax));
const standardErrors = 3;
const exposedShareMax = 0.25;

export function rowsOf(all: readonly Ran[]): Row[] {
  const groups = Map.groupBy(all, ({ job }) => `${job.devices} ${job.mix} ${job.release}`);
  return [...groups.values()].map((runs) => rowOf(runs));
}

function rowOf(runs: readonly Ran[]): Row {
  const [first] = runs;
  const minutes = runs
    .flatMap(({ result }) => (result.stopMs === null ? [] : [result.stopMs / msPerMinute]))
    .sort((a, b) => a - b);
  const statuses = Map.groupBy(runs, ({ result }) => result.status);
  return {
    devices: first?.job.devices ?? 0,
    mix: first?.job.mix ?? "",
    release: first?.job.release ?? "",
    seeds: runs.length,
    ended: [...statuses].map(([status, of]) => `${of.length} ${status}`).join(", "),
    committedShareMedian: median(runs.map(exposedShare)),
    stopMinutesMedian: minutes.length === 0 ? null : median(minutes),
    stopMinutesP99: minutes[Math.ceil(minutes.length * 0.99) - 1] ?? null,
    decided: runs.reduce((sum, { result }) => sum + result.decided, 0),
    faults: runs.reduce((sum, { result }) => sum + result.faults.length, 0),
  };
}

const exposedShare = ({ result }: Ran) => result.committed / result.devices;
const dropOf = ({ job }: Ran) => releases[job.release as ReleaseName].meanDrop;
const reachedAll = ({ result }: Ran) => result.status === "completed";

/** Small fleets cannot prove a release and are told so; the promise on drops is that of the others. */
export function barsOf(all: readonly Ran[], minutes: number, minutesMax: number): Bar[] {
  const harmful = all.filter((run) => run.job.devices > smallDevices && dropOf(run) >= deltaMax);
  const reached = harmful.filter(reachedAll).length / harmful.length;
  const limit = beta + standardErrors * Math.sqrt((beta * (1 - beta)) / harmful.length);
  const seedsOf = (devices: number) => all.filter(({ job }) => job.devices === devices).length;
  const faults = all.reduce((sum, { result }) => sum + result.faults.length, 0);
  return [
    atMost("faults that the checkers found", faults, 0),
    atMost("share of harmful releases that reached a whole fleet", reached, limit),
    atMost(
      "median share of devices that ran a harmful release",
      median(harmful.map(exposedShare)),
      exposedShareMax,
    ),
    atLeast(`seeds of ${largeDevices} devices`, seedsOf(largeDevices), largeSeeds),
    atLeast(`seeds of ${smallDevices} devices`, seedsOf(smallDevices), smallSeeds),
    atMost("minutes", minutes, minutesMax),
  ];
}
