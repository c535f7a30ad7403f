/**
 * One seed: a fleet on the first version, one rollout of one release by the product's defaults, disturbed
 * as its mix says, to the end and until every device is quiet. Answers what does not hold and what is
 * reported.
 */
import type { ControllerConfig } from "../../../controller/config.ts";
import type { ControllerContext } from "../../../controller/context.ts";
import { startRollout, steerRollout } from "../../../controller/rollout/service.ts";
import { rolloutRow } from "../../../controller/rollout/views.ts";
import { seededRandom } from "../../../shared/prng.ts";
import { fleetFaults, openAtServer } from "../checks/fleet.ts";
import { modelName } from "../world/catalogue.ts";
import { copyStorage, createMachine, type World } from "../world/machine.ts";
import { startController } from "../world/programs.ts";
import { newWorld } from "../world/start-state.ts";
import { during } from "../world/time.ts";
import { type FleetDevice, startDevices } from "./devices.ts";
import { disturb, disturbedMs } from "./disturb.ts";
import type { FleetState } from "./fleet-state.ts";
import { type FaultMix, type MixName, mixes } from "./mixes.ts";
import { type OperatorName, operators } from "./operators.ts";
import { writeRegion } from "./region.ts";
import { isBroken, type ReleaseName } from "./releases.ts";
import { type RolloutReport, reportOf } from "./report.ts";
import { startTraffic } from "./traffic.ts";

export interface SeedOrder {
  readonly seed: number;
  readonly mix: MixName;
  readonly release: ReleaseName;
  readonly operator: OperatorName;
}

export interface SeedResult extends RolloutReport {
  readonly devices: number;
  /** From the start of the rollout to its end, in virtual ms. */
  readonly tookMs: number;
  /** A release that breaks every device was offered to one beyond the canary. */
  readonly leftCanary: boolean;
  /** What does not hold; empty when the seed was survived. */
  readonly faults: readonly string[];
}

const rolloutMsMax = 12 * 3_600_000;
const quietMs = 60_000;
const quietRoundsMax = 120;
/** In service the canary is watched, and devices watch what they committed: minutes where products take days. */
const serviceTimes = { canarySoakMs: 300_000, soakMs: 600_000 } as const;

const settingsOf = ({ isInService }: FaultMix): Partial<ControllerConfig> =>
  isInService ? serviceTimes : {};

export async function runSeed(fleet: FleetState, order: SeedOrder): Promise<SeedResult> {
  const mix: FaultMix = mixes[order.mix];
  const world = newWorld(order.seed, fleet.start.atMs, mix.links);
  const { time } = world;
  const random = seededRandom(order.seed);
  const storage = copyStorage(fleet.controller);
  const rules = writeRegion(storage, mix, time.nowMs());
  const server = createMachine(world, { name: "controller", storage });
  let ctx = await startController(world, server, settingsOf(mix));
  const devices = startDevices(world, fleet, { mix, rules, random });
  const { id } = await during(
    time,
    startRollout(ctx, { model: modelName, version: order.release, seed: String(order.seed) }),
  );
  const startedMs = time.nowMs();
  disturb(world, { devices, server: () => ctx, mix, random });
  const stopTraffic = mix.isInService ? startTraffic(time, devices, random) : () => {};
  for (let kill = 0; kill < mix.controllerKills; kill++) {
    await time.run(random.nextInt(disturbedMs / mix.controllerKills));
    server.cut("kept");
    ctx = await startController(world, server, settingsOf(mix));
  }
  const ended = await toTheEnd(world, ctx, id, order.operator);
  const tookMs = time.nowMs() - startedMs;
  await quiet(world, ctx, devices, stopTraffic);
  const report = await reportOf(ctx, id);
  const versions = [...fleet.start.versions.values()];
  const faults = await fleetFaults(ctx, { versions, devices });
  if (!ended) faults.push("the rollout did not end");
  for (const { machine } of [...devices, { machine: server }]) machine.dispose();
  const leftCanary = isBroken(order.release, order.mix) && report.offeredBeyond > 0;
  return { ...report, devices: devices.length, tookMs, leftCanary, faults };
}

/** False when it went on for too long. */
async function toTheEnd(
  { time }: World,
  ctx: ControllerContext,
  id: string,
  operator: OperatorName,
): Promise<boolean> {
  const statusNow = async () => (await rolloutRow(ctx.db, id)).status;
  for (;;) {
    const ended = await time.run(rolloutMsMax, async () => (await statusNow()) !== "running");
    if (!ended || (await statusNow()) !== "awaiting-promotion") return ended;
    if (!(await operators[operator](ctx, id))) return true;
    await during(time, steerRollout(ctx, id, "promote", "nobody said anything against it"));
  }
}

/** A way back may still be under way when the rollout has stopped, and a soak when it is complete. */
async function quiet(
  { time }: World,
  ctx: ControllerContext,
  devices: readonly FleetDevice[],
  stopTraffic: () => void,
): Promise<void> {
  let busy: FleetDevice | undefined;
  for (let round = 0; round < quietRoundsMax; round++) {
    await time.run(quietMs);
    // Who was busy the last time probably still is, and asking all of a large fleet takes long.
    if (busy?.isIdle() === false) continue;
    busy = devices.find((device) => !device.isIdle());
    if (busy === undefined && (await openAtServer(ctx)) === 0) break;
  }
  stopTraffic();
}
