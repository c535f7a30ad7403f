/** Limits per link in a real database: devices behind one uplink are offered a version in turns. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { parseRegions } from "../../controller/fleet/regions.ts";
import { startRollout } from "../../controller/rollout/service.ts";
import { showRollout } from "../../controller/rollout/views.ts";
import type { StageOrder } from "../../shared/api/stages.ts";
import {
  model,
  outcomePayload,
  type RolloutWorld,
  rolloutWorld,
  storeOutcome,
} from "../helpers/rollout-world.ts";

let world: RolloutWorld;
const cameras = ["cam-1", "cam-2", "cam-3", "cam-4"];
const onShip = ["cam-1", "cam-2", "us-1"];

beforeEach(async () => {
  world = await rolloutWorld();
  await world.addVersion("1");
  for (const id of [...cameras, "us-1"]) await world.addDevice(id, "camera");
  await world.db.updateTable("devices").set({ region: "us" }).where("id", "=", "us-1").execute();
});
afterEach(() => world.db.destroy());

async function start(concurrentPerLink: StageOrder["concurrentPerLink"]): Promise<string> {
  const stages: StageOrder[] = [{ name: "fleet", select: { by: "all" }, concurrentPerLink }];
  return (await startRollout(world.ctx, { model, version: "1", stages })).id;
}
const attempts = async (id: string) => (await showRollout(world.ctx, id)).attempts;
const offered = async (id: string) => (await attempts(id)).map(({ device }) => device);

async function commit(id: string, device: string): Promise<void> {
  const attempt = (await attempts(id)).find((each) => each.device === device)!;
  await storeOutcome(world, device, outcomePayload(attempt));
}

it("keeps so many undecided offers per link, whatever the regions behind it", async () => {
  await world.db
    .updateTable("devices")
    .set({ labelsJson: JSON.stringify({ link: "ship-7" }) })
    .where("id", "in", onShip)
    .execute();
  const id = await start({ "ship-7": 1 });
  const shipped = async () => (await offered(id)).filter((device) => onShip.includes(device));
  // The other two are behind links without a limit.
  expect(await offered(id)).toHaveLength(3);
  expect(await shipped()).toHaveLength(1);
  for (const device of ["cam-3", "cam-4"]) await commit(id, device);
  expect(await shipped()).toHaveLength(1);
  for (let at = 0; at < 2; at++) {
    await commit(id, (await shipped()).at(-1)!);
    expect(await shipped()).toHaveLength(at + 2);
  }
});

it("counts the link that a region states for devices without one of their own", async () => {
  const regions = parseRegions(`
regions:
  - { name: eu, title: Europe, link: { kind: satellite } }
`);
  Object.assign(world.ctx.fleet, { regions });
  const named = await start({ satellite: 3 });
  expect(await offered(named)).toHaveLength(4);
  const each = await start(2);
  expect(await offered(each)).toHaveLength(3);
  expect(await offered(each)).toContain("us-1");
});
