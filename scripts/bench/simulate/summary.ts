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
}

const msPerMinute = 60_000;
const { beta } = defaultRules;
const deltaMax = Math.max(...defaultRules.signals.map((signal) => signal.deltaMax));
const standardErrors = 3;
const exposedShareMax = 0.25;

export function rowsOf(all: readonly Ran[]): Row[] {
  const groups = Map.groupBy(all, ({ job: { devices, mix, release, operator } }) =>
    [devices, mix, release, operator].join(" "),
  );
  return [...groups.values()].map((runs) => rowOf(runs));
}

function rowOf(runs: readonly Ran[]): Row {
  const [first] = runs;
  const statuses = Map.groupBy(runs, ({ result }) => result.status);
  return {
    devices: first?.job.devices ?? 0,
    mix: first?.job.mix ?? "",
    release: first?.job.release ?? "",
    operator: first?.job.operator ?? "",
    seeds: runs.length,
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
export function barsOf(all: readonly Ran[], minutes: number, minutesMax: number): Bar[] {
  const alone = all.filter((run) => isHarmful(run) && run.job.operator === "absent");
  const isSmall = ({ job }: Ran) => job.devices <= smallDevices;
  const breaking = all.filter(({ job }) => isBroken(job.release, job.mix));
  const seedsOf = (devices: number) => all.filter(({ job }) => job.devices === devices).length;
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
    atLeast(`seeds of ${largeDevices} devices`, seedsOf(largeDevices), largeSeeds),
    atLeast(`seeds of ${smallDevices} devices`, seedsOf(smallDevices), smallSeeds),
    atMost("minutes", minutes, minutesMax),
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
