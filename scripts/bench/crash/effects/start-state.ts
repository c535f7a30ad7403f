/**
 * Where every replay begins: a controller and one device that serves version 1, with versions to offer.
 * Made once by the two programs themselves and then copied.
 */
import { startRollout } from "../../../../controller/rollout/service.ts";
import { createClaim } from "../../../../controller/trust/claims.ts";
import { seededRandom } from "../../../../shared/prng.ts";
import {
  addShards,
  addVersion,
  modelName,
  type Version,
  writeConfig,
} from "../../../simulate/world/catalogue.ts";
import {
  copyStorage,
  createMachine,
  emptyStorage,
  type Storage,
  type World,
} from "../../../simulate/world/machine.ts";
import { createNetwork, goodLinks } from "../../../simulate/world/network.ts";
import { startAgent, startController } from "../../../simulate/world/programs.ts";
import { healthyModel, type SyntheticModel } from "../../../simulate/world/synthetic-model.ts";
import { during, virtualTime } from "../../../simulate/world/time.ts";

export const deviceName = "device-1";
export const worldSeed = 1;
export const allAtOnce = [{ name: "all", select: { by: "all" } }] as const;

export interface StartState {
  readonly atMs: number;
  readonly controller: Storage;
  readonly device: Storage;
  readonly versions: ReadonlyMap<string, Version>;
}

/** Versions that a trial must keep out, by what is wrong with them. */
const badModels: Readonly<Record<string, Partial<SyntheticModel>>> = {
  "crash-loading": { crashes: "loading" },
  "crash-first-run": { crashes: "first-run" },
  "hang-in-evaluation": { hangsAtRun: 100 },
  "hang-in-benchmark": { hangsAtRun: 300 },
  "memory-3x": { ramPeakBytes: 3 * healthyModel.ramPeakBytes },
  "latency-2x": { latencyMs: 2 * healthyModel.latencyMs },
  "accuracy-minus-20": { accuracy: healthyModel.accuracy - 0.2 },
};
export const badVersions = Object.keys(badModels);
/** Goes bad only after a trial could see it: the device must live with it either way. */
export const lateVersion = "hang-at-5000";
const lateModel: Partial<SyntheticModel> = { hangsAtRun: 5_000 };
export const goodVersion = "2";
const firstVersion = "1";
const waitMsMax = 3_600_000;
/** Everything that followed the first commit is over by then. */
const quietMs = 30_000;

export function newWorld(startMs = 0): World {
  const time = virtualTime(startMs);
  const random = seededRandom(worldSeed);
  return { time, seed: worldSeed, network: createNetwork({ time, random, faults: goodLinks }) };
}

export async function makeStartState(): Promise<StartState> {
  const world = newWorld();
  const storage = emptyStorage();
  writeConfig(storage.disk);
  const controller = createMachine(world, { name: "controller", storage });
  const ctx = await startController(world, controller);
  await addShards(ctx, 1);
  const versions = new Map<string, Version>();
  const wanted = {
    [firstVersion]: {},
    [goodVersion]: {},
    ...badModels,
    [lateVersion]: lateModel,
  };
  for (const [version, change] of Object.entries(wanted)) {
    const model = { ...healthyModel, name: `model ${version}`, ...change };
    versions.set(version, await addVersion(ctx, version, model));
  }
  const claim = await createClaim(ctx, { device: deviceName, region: "eu-west", labels: {} });
  const device = createMachine(world, { name: deviceName, storage: emptyStorage() });
  const started = startAgent(world, device, { claimToken: claim.token });
  await world.time.run(waitMsMax, () => started.agent !== undefined);
  const order = { model: modelName, version: firstVersion, stages: [...allAtOnce] };
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
