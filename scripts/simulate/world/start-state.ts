/**
 * Where simulations begin: a controller and one device that serves the first version, with others to
 * offer. Made once by the two programs themselves, then copied, so that replays need not enrol.
 */
import { startRollout } from "../../../controller/rollout/service.ts";
import { createClaim } from "../../../controller/trust/claims.ts";
import { stageSchema } from "../../../shared/api/stages.ts";
import { seededRandom } from "../../../shared/prng.ts";
import {
  addShards,
  addVersion,
  modelName,
  type Pool,
  type Version,
  writeConfig,
} from "./catalogue.ts";
import { copyStorage, createMachine, emptyStorage, type Storage, type World } from "./machine.ts";
import { createNetwork, goodLinks, type LinkFaults } from "./network.ts";
import { startAgent, startController } from "./programs.ts";
import { healthyModel, type SyntheticModel } from "./synthetic-model.ts";
import { during, virtualTime } from "./time.ts";

/** The device of the start state. */
export const deviceName = "device-1";
export const firstVersion = "1";
export const allAtOnce = stageSchema.array().parse([{ name: "all", select: { by: "all" } }]);

export interface StartState {
  readonly atMs: number;
  readonly controller: Storage;
  readonly device: Storage;
  readonly versions: ReadonlyMap<string, Version>;
}

const waitMsMax = 3_600_000;
/** Everything that followed the first commit is over by then. */
const quietMs = 30_000;

/** A world whose network, and all of its programs, draw from `seed`. */
export function newWorld(seed: number, startMs = 0, faults: LinkFaults = goodLinks): World {
  const time = virtualTime(startMs);
  return { time, seed, network: createNetwork({ time, random: seededRandom(seed), faults }) };
}

/** `changes`: what is different from a healthy model, by version; the first version is healthy. */
export async function makeStartState(options: {
  changes: Readonly<Record<string, Partial<SyntheticModel>>>;
  modelBytes: number;
  pool: Pool;
}): Promise<StartState> {
  const { modelBytes, pool } = options;
  const world = newWorld(1);
  const storage = emptyStorage();
  writeConfig(storage.disk);
  const controller = createMachine(world, { name: "controller", storage });
  const ctx = await startController(world, controller);
  await addShards(ctx, pool);
  const versions = new Map<string, Version>();
  for (const [version, change] of Object.entries({ [firstVersion]: {}, ...options.changes })) {
    const model = { ...healthyModel, name: `model ${version}`, ...change };
    versions.set(version, await addVersion(ctx, version, model, { modelBytes, ...pool }));
  }
  const claim = await createClaim(ctx, { device: deviceName, region: "eu-west", labels: {} });
  const device = createMachine(world, { name: deviceName, storage: emptyStorage() });
  const started = startAgent(world, device, { claimToken: claim.token });
  await world.time.run(waitMsMax, () => started.agent !== undefined);
  const order = { model: modelName, version: firstVersion, stages: allAtOnce };
  await during(world.time, startRollout(ctx, order));
  const committed = async () =>
    (await ctx.db.selectFrom("attempts").select("outcome").executeTakeFirst())?.outcome ===
    "committed";
  if (!(await world.time.run(waitMsMax, committed))) throw new Error("version 1 was not committed");
  await world.time.run(quietMs);
  return {
    atMs: world.time.nowMs(),
    controller: copyStorage(controller.storage()),
    device: copyStorage(device.storage()),
    versions,
  };
}
