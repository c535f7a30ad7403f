/**
 * One seed: a fleet on the first version, one rollout of one release by the product's defaults, disturbed
 * as its mix says, to the end and until every device is quiet. Answers what does not hold and what is
 * reported.
 */
import type { ControllerContext } from "../../../controller/context.ts";
import { startRollout } from "../../../controller/rollout/service.ts";
import { rolloutRow } from "../../../controller/rollout/views.ts";
import { assert } from "../../../shared/assert.ts";
import { type Random, seededRandom } from "../../../shared/prng.ts";
import { fleetFaults, openAtServer } from "../checks/fleet.ts";
import { modelName } from "../world/catalogue.ts";
import { copyStorage, createMachine, type World } from "../world/machine.ts";
import { startController } from "../world/programs.ts";
import { newWorld } from "../world/start-state.ts";
import { during } from "../world/time.ts";
import type { FleetState } from "./fleet-state.ts";
import { type FaultMix, type MixName, mixes, type ReleaseName, releases } from "./mixes.ts";
import { type SimDevice, superviseDevice } from "./supervise.ts";

export interface SeedOrder {
  readonly seed: number;
  readonly mix: MixName;
  readonly release: ReleaseName;
}

export interface SeedResult {
  /** `completed` is the whole fleet; anything else ended or waits before it. */
  readonly status: string;
  readonly reason: string | null;
  /** Attempts that came to an outcome: of the rollout, its controls and its way back. */
  readonly decided: number;
  /** Devices that committed the release, if only for a while. */
  readonly committed: number;
  readonly devices: number;
  /** From the start of the rollout to its end, in virtual ms. */
  readonly tookMs: number;
  /** From the first commit to the stop, in virtual ms; null when nothing was committed or stopped. */
  readonly stopMs: number | null;
  /** What does not hold; empty when the seed was survived. */
  readonly faults: readonly string[];
}

/** Faults begin within this time: about as long as an undisturbed rollout takes. */
const disturbedMs = 20_000;
const spellMsMax = 600_000;
const rolloutMsMax = 12 * 3_600_000;
const quietMs = 60_000;
const quietRoundsMax = 120;
const cutModes = ["dropped", "names-kept", "torn", "kept"] as const;

export async function runSeed(fleet: FleetState, order: SeedOrder): Promise<SeedResult> {
  const mix = mixes[order.mix];
  const world = newWorld(order.seed, fleet.start.atMs, mix.links);
  const { time } = world;
  const random = seededRandom(order.seed);
  const storage = copyStorage(fleet.controller);
  const server = createMachine(world, { name: "controller", storage });
  let ctx = await startController(world, server);
  const devices = [...fleet.devices].map(([name, stored]) =>
    superviseDevice(world, { name, storage: copyStorage(stored), random }),
  );
  const { id } = await during(
    time,
    startRollout(ctx, { model: modelName, version: order.release, seed: String(order.seed) }),
  );
  const startedMs = time.nowMs();
  disturb(world, devices, mix, random);
  for (let kill = 0; kill < mix.controllerKills; kill++) {
    await time.run(random.nextInt(disturbedMs / mix.controllerKills));
    server.cut("kept");
    ctx = await startController(world, server);
  }
  const isOver = async () => (await rolloutRow(ctx.db, id)).status !== "running";
  const ended = await time.run(rolloutMsMax, isOver);
  const endedMs = time.nowMs();
  await quiet(world, ctx, devices);
  const report = await reportOf(ctx, id, ctx.clock.wallMs() - (time.nowMs() - endedMs));
  const faults = await fleetFaults(ctx, { versions: [...fleet.start.versions.values()], devices });
  if (!ended) faults.push("the rollout did not end");
  if (releases[order.release].broken && report.left > 0) {
    faults.push(`${report.left} devices beyond the canary were offered ${order.release}`);
  }
  for (const { machine } of [...devices, { machine: server }]) machine.dispose();
  return { ...report, devices: devices.length, tookMs: endedMs - startedMs, faults };
}

async function reportOf(ctx: ControllerContext, id: string, endedWallMs: number) {
  const { status, reason } = await rolloutRow(ctx.db, id);
  const rows = await ctx.db
    .selectFrom("attempts")
    .select(["rollout", "stage", "arm", "outcome", "decidedAtMs", "version"])
    .where("releaseCounter", ">", 1)
    .execute();
  const own = rows.filter(({ rollout, arm }) => rollout === id && arm !== "control");
  const commits = own.filter(({ outcome }) => outcome === "committed");
  const firstMs = commits.reduce(
    (least, row) => Math.min(least, row.decidedAtMs ?? least),
    Infinity,
  );
  return {
    status,
    reason,
    decided: rows.filter(({ outcome }) => outcome !== null).length,
    committed: commits.length,
    left: own.filter(({ stage }) => stage > 0).length,
    stopMs: status === "stopped" && commits.length > 0 ? endedWallMs - firstMs : null,
  };
}

function disturb(
  { time, network }: World,
  devices: readonly SimDevice[],
  mix: FaultMix,
  random: Random,
): void {
  const sometime = (run: () => void) => time.after(random.nextInt(disturbedMs), run);
  for (const { machine } of devices) {
    if (random.nextFloat() < mix.powerCuts) {
      const mode = cutModes[random.nextInt(cutModes.length)];
      assert(mode !== undefined, "an index below the length");
      sometime(() => machine.cut(mode));
    }
    if (random.nextFloat() < mix.spells) {
      const forMs = random.nextInt(spellMsMax);
      sometime(() => network.cutOff(machine.name, forMs));
    }
  }
  for (let drop = 0; drop < mix.brokerDrops; drop++) sometime(network.dropAll);
}

/** A way back may still be under way when the rollout has stopped. */
async function quiet(
  { time }: World,
  ctx: ControllerContext,
  devices: readonly SimDevice[],
): Promise<void> {
  for (let round = 0; round < quietRoundsMax; round++) {
    await time.run(quietMs);
    if (devices.every((device) => device.isIdle()) && (await openAtServer(ctx)) === 0) break;
  }
}
