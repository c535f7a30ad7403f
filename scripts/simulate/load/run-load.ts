/**
 * Real time, a real broker, a real controller: simulated agents take one version after the other, all at
 * once, and send what they measure meanwhile. Answers what the controller carried and at which price.
 */
import { seededRandom } from "../../../shared/prng.ts";
import type { World } from "../world/machine.ts";
import { createNetwork, goodLinks } from "../world/network.ts";
import type { AgentRun } from "../world/programs.ts";
import { askModels, startAgents, stopAgents } from "./agents.ts";
import { type LoadController, startLoadController } from "./controller-process.ts";
import { createMeter, type Traffic } from "./meter.ts";
import { realTime } from "./real-time.ts";

export interface LoadOptions {
  readonly devices: number;
  /** Length of the measured time; the rollout that is under way when it is over is still awaited. */
  readonly minutes: number;
  /** Telemetry windows per second of all devices together. */
  readonly rate: number;
  readonly say?: (line: string) => void;
}

export interface LoadResult extends Traffic {
  readonly devices: number;
  readonly seconds: number;
  readonly rollouts: number;
  readonly updates: number;
  readonly messagesPerSecond: number;
  /** Processor time of the controller with its broker, as a share of one core. */
  readonly controllerCpuShare: number;
  readonly controllerRssPeakBytes: number;
  /** Attempts without an outcome at the end, and with more than one. */
  readonly lost: number;
  readonly doubled: number;
  /** Rollouts that did not end as they must. */
  readonly faults: readonly string[];
}

const windowMsMin = 1_000;
const rolloutMsMax = 300_000;

export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const { devices, minutes, rate, say = () => {} } = options;
  const windowMs = Math.round(Math.max(windowMsMin, (devices / rate) * 1_000));
  const time = realTime();
  const network = createNetwork({ time, random: seededRandom(1), faults: goodLinks });
  const world: World = { time, network, seed: 1 };
  const meter = createMeter(time.nowMs);
  const controller = await startLoadController(windowMs);
  let agents: AgentRun[] = [];
  let stopAsking = () => {};
  try {
    say(`enrolling ${devices} devices`);
    const names = Array.from({ length: devices }, (_, at) => `load-${at + 1}`);
    agents = await startAgents(world, meter, await controller.claims(names));
    const faults = await rollOut(world, controller, 1);
    const before = await controller.totals();
    meter.reset();
    const startedMs = time.nowMs();
    stopAsking = askModels(world, agents, windowMs);
    let version = 1;
    while (time.nowMs() < startedMs + minutes * 60_000) {
      faults.push(...(await rollOut(world, controller, ++version)));
      say(`${version - 1} rollouts, ${meter.read().sent} messages sent`);
    }
    const seconds = (time.nowMs() - startedMs) / 1_000;
    const after = await controller.totals();
    const traffic = meter.read();
    return {
      devices,
      seconds,
      rollouts: version - 1,
      updates: after.decided - before.decided,
      ...traffic,
      messagesPerSecond: (traffic.sent + traffic.received) / seconds,
      controllerCpuShare: (after.cpuMs - before.cpuMs) / 1_000 / seconds,
      controllerRssPeakBytes: after.rssPeakBytes,
      lost: after.lost,
      doubled: after.doubled,
      faults,
    };
  } finally {
    stopAsking();
    await stopAgents(agents);
    await controller.stop();
  }
}

/** Brings a version to everybody and waits for the last outcome; answers what went wrong. */
async function rollOut(
  { time }: World,
  controller: LoadController,
  version: number,
): Promise<string[]> {
  const rollout = await controller.roll(String(version));
  const isOver = async () => {
    const { status, open } = await controller.status(rollout);
    return status !== "running" && open === 0;
  };
  const ended = await time.run(rolloutMsMax, isOver);
  const { status, reason } = await controller.status(rollout);
  if (ended && status === "completed") return [];
  return [`version ${version} ended ${status}: ${reason}`];
}
