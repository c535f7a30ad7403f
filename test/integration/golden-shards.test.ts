/** Which golden shard a device is given: one of its own while they last, and the same one ever after. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { startRollout } from "../../controller/rollout/service.ts";
import { showRollout } from "../../controller/rollout/views.ts";
import { sha256Hex } from "../../shared/artifact/hash.ts";
import {
  model,
  outcomePayload,
  type RolloutWorld,
  rolloutWorld,
  storeOutcome,
} from "../helpers/rollout-world.ts";

let world: RolloutWorld;
const hashOf = (text: string) => sha256Hex(new TextEncoder().encode(text));
const shards = [0, 1, 2].map((shardIndex) => ({
  shardIndex,
  sha256: hashOf(`shard ${shardIndex}`),
}));
const cameras = ["cam-1", "cam-2", "cam-3"];

beforeEach(async () => {
  world = await rolloutWorld();
  await world.db
    .insertInto("goldenShards")
    .values(shards.map((shard) => ({ ...shard, poolSha256: hashOf("pool"), bytes: 1 })))
    .execute();
  for (const version of ["1", "2"]) {
    const { camera } = await world.addVersion(version);
    await world.db
      .insertInto("referenceOutputs")
      .values(
        shards.map(({ sha256 }) => ({
          bundleSha256: camera,
          shardSha256: sha256,
          sha256: hashOf(`${version} ${sha256}`),
          bytes: 1,
        })),
      )
      .execute();
  }
  for (const id of cameras) await world.addDevice(id, "camera");
});
afterEach(() => world.db.destroy());

/** The shard that each device's order names, in a rollout of `version` that all commit. */
async function shardsOf(version: string): Promise<Map<string, string>> {
  const stages = [{ name: "fleet", select: { by: "all" } as const }];
  const { id } = await startRollout(world.ctx, { model, version, stages });
  const rows = await world.db
    .selectFrom("attempts")
    .select(["device", "manifestJson"])
    .where("rollout", "=", id)
    .execute();
  for (const { device, ...attempt } of (await showRollout(world.ctx, id)).attempts)
    await storeOutcome(world, device, outcomePayload(attempt));
  return new Map(
    rows.map(({ device, manifestJson }) => [
      device,
      JSON.parse(manifestJson).signed.golden[0].shard.sha256 as string,
    ]),
  );
}

it("is one of its own while they last, and stays its own for later versions", async () => {
  const first = await shardsOf("1");
  expect([...first.values()].sort()).toEqual(shards.map(({ sha256 }) => sha256).sort());
  await world.addDevice("cam-0", "camera");
  const second = await shardsOf("2");
  for (const device of cameras) expect(second.get(device)).toBe(first.get(device));
  // There is none left for the fourth, so it shares one, and keeps that.
  expect(shards.map(({ sha256 }) => sha256)).toContain(second.get("cam-0"));
  const uses = await world.db
    .selectFrom("shardUses")
    .select("shardIndex")
    .where("device", "=", "cam-1")
    .execute();
  expect(uses).toHaveLength(2);
});
