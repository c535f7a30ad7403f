/**
 * One seed: a fleet on the first version, one rollout of one release, disturbed as its mix says, to the
 * end and until every device is quiet. Answers what does not hold and what is reported.
 */
import type { ControllerContext } from "../../../controller/context.ts";
import { startRollout } from "../../../controller/rollout/service.ts";
import { rolloutRow, showRollout } from "../../../controller/rollout/views.ts";
import { stageSchema } from "../../../shared/api/stages.ts";
import { assert } from "../../../shared/assert.ts";
import { type Random, seededRandom } from "../../../shared/prng.ts";
import { broken } from "../checks/invariants.ts";
import { modelName } from "../world/catalogue.ts";
import { copyStorage, createMachine, type World } from "../world/machine.ts";
import { startController } from "../world/programs.ts";
import { newWorld } from "../world/start-state.ts";
import { during } from "../world/time.ts";
import type { FleetState } from "./fleet-state.ts";
import { type FaultMix, type MixName, mixes, type ReleaseName, releases } from "./mixes.ts";
import { type SimDevice, superviseDevice } from "./supervise.ts";

export interface SeedResult {
  readonly status: string;
  readonly reason: string | null;
  /** Devices that came to an outcome of this rollout, and those that committed it. */
  readonly decided: number;
  readonly committed: number;
  /** From the start of the rollout to its end, in virtual ms. */
  readonly tookMs: number;
  /** What does not hold; empty when the seed was survived. */
  readonly faults: readonly string[];
}

const stages = stageSchema.array().parse([
  { name: "canary", select: { by: "percent", percent: 10 } },
  { name: "fleet", select: { by: "all" } },
]);
/** Faults begin within this time: about as long as an undisturbed rollout takes. */
const disturbedMs = 20_000;
const spellMsMax = 600_000;
const rolloutMsMax = 12 * 3_600_000;
const quietMs = 60_000;
const quietRoundsMax = 120;
const cutModes = ["dropped", "names-kept", "torn", "kept"] as const;

export async function runSeed(
  fleet: FleetState,
  order: { seed: number; mix: MixName; release: ReleaseName },
): Promise<SeedResult> {
  const mix = mixes[order.mix];
  const world = newWorld(order.seed, fleet.start.atMs, mix.links);
  const { time } = world;
  const random = seededRandom(order.seed);
  const server = createMachine(world, {
    name: "controller",
    storage: copyStorage(fleet.controller),
  });
  let ctx = await startController(world, server);
  const devices = [...fleet.devices].map(([name, storage]) =>
    superviseDevice(world, { name, storage: copyStorage(storage), random }),
  );
  const { id } = await during(
    time,
    startRollout(ctx, { model: modelName, version: order.release, stages }),
  );
  const startedMs = time.nowMs();
  disturb(world, devices, mix, random);
  for (let kill = 0; kill < mix.controllerKills; kill++) {
    await time.run(random.nextInt(disturbedMs / mix.controllerKills));
    server.cut("kept");
    ctx = await startController(world, server);
  }
  const ended = await time.run(
    rolloutMsMax,
    async () => (await rolloutRow(ctx.db, id)).status !== "running",
  );
  const tookMs = time.nowMs() - startedMs;
  await quiet(world, devices);
  const { status, reason, attempts } = await showRollout(ctx, id);
  const faults = await faultsOf(ctx, { fleet, status, devices, attempts });
  if (!ended) faults.push("the rollout did not end");
  const left = attempts.filter(({ stage }) => stage > 0).length;
  if (releases[order.release].broken && left > 0) {
    faults.push(`${left} devices beyond the canary were offered ${order.release}`);
  }
  return {
    status,
    reason,
    decided: attempts.filter(({ outcome }) => outcome !== null).length,
    committed: attempts.filter(({ outcome }) => outcome === "committed").length,
    tookMs,
    faults,
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

async function quiet({ time }: World, devices: readonly SimDevice[]): Promise<void> {
  for (let round = 0; round < quietRoundsMax; round++) {
    await time.run(quietMs);
    if (devices.every((device) => device.isIdle())) break;
  }
}

async function faultsOf(
  ctx: ControllerContext,
  run: {
    fleet: FleetState;
    status: string;
    devices: readonly SimDevice[];
    attempts: readonly { id: string; device: string; outcome: string | null; status: string }[];
  },
): Promise<string[]> {
  const faults: string[] = [];
  for (const { machine, atBoots, look } of run.devices) {
    const attempt = run.attempts.find(({ device }) => device === machine.name);
    const atEnd = look();
    // A stop may take an offer back before the device ever heard of it.
    const takenBack = attempt?.outcome === null && run.status !== "completed";
    const heard = takenBack && !atEnd.attempts.includes(attempt.id) ? undefined : attempt?.id;
    const found = await broken({
      ctx,
      device: machine.name,
      attempt: heard,
      versions: [...run.fleet.start.versions.values()],
      atBoots,
      atEnd,
      asked: undefined,
      endings: [],
    });
    for (const { invariant, what } of found) faults.push(`${machine.name}: ${invariant}: ${what}`);
  }
  return faults;
}
