/**
 * Going back is always possible: whatever the classes, floors and runtimes became since a device ran what
 * it goes back to, and whatever other devices answered.
 */
import { afterEach, beforeEach, expect, it } from "vitest";
import { deviceAppeared } from "../../controller/rollout/advance.ts";
import { rollBackRollout, startRollout } from "../../controller/rollout/service.ts";
import { showRollout } from "../../controller/rollout/views.ts";
import { verifyManifest } from "../../shared/artifact/manifest.ts";
import { alphaOf } from "../../shared/evaluation/error-budget.ts";
import {
  model,
  outcomePayload,
  type RolloutWorld,
  rolloutWorld,
  storeOutcome,
} from "../helpers/rollout-world.ts";

let world: RolloutWorld;
let first: Awaited<ReturnType<RolloutWorld["addVersion"]>>;
let bad: string;
const cameras = ["cam-1", "cam-2", "cam-3"];

const attempts = async (id: string) => (await showRollout(world.ctx, id)).attempts;

async function answer(id: string, device: string, change: object = {}): Promise<void> {
  const attempt = (await attempts(id)).find((each) => each.device === device)!;
  await storeOutcome(world, device, outcomePayload(attempt, change));
}

async function bring(version: string): Promise<string> {
  const stages = [{ name: "fleet", select: { by: "all" } as const }];
  const { id } = await startRollout(world.ctx, { model, version, stages });
  for (const device of cameras) await answer(id, device);
  return id;
}

async function goBack(): Promise<string> {
  return (await rollBackRollout(world.ctx, bad, { reason: "bad", by: "ann" })).id;
}

async function ordered(id: string, device: string) {
  const { manifestJson } = await world.db
    .selectFrom("attempts")
    .select("manifestJson")
    .where("rollout", "=", id)
    .where("device", "=", device)
    .executeTakeFirstOrThrow();
  return verifyManifest(JSON.parse(manifestJson), [world.ctx.signingKey.publicKey]);
}

beforeEach(async () => {
  world = await rolloutWorld();
  first = await world.addVersion("1");
  await world.addVersion("2");
  for (const id of cameras) await world.addDevice(id, "camera");
  await bring("1");
  bad = await bring("2");
});
afterEach(() => world.db.destroy());

it("asks for parity alone, though the class has floors and limits since", async () => {
  const strict = {
    metricFloor: 0.99,
    classFloor: 0.9,
    sliceFloor: 0.9,
    latencyMsMax: 1,
    ramPeakBytesMax: 1,
    energyRatioMax: 1,
  };
  const classes = world.ctx.fleet.classes.map((each) => ({ ...each, budget: strict }));
  Object.assign(world.ctx.fleet, { classes });
  const { bundle, gates, runtime, soak } = await ordered(await goBack(), "cam-1");
  expect(bundle.sha256).toBe(first.camera);
  expect(gates).toMatchObject({
    parityOnlyAlpha: alphaOf("parity", world.ctx.config.alphaDevice),
    metricFloor: 0,
    classFloor: null,
    sliceFloor: null,
    latencyMsMax: null,
    ramPeakBytesMax: null,
    energyRatioMax: null,
  });
  // Far below what any test of an older agent comes to.
  expect(gates.alphaDevice).toBeLessThan(1e-100);
  expect(runtime).toEqual({ onnxruntimeMin: "0.0.0", onnxruntimeMaxExclusive: "9999.0.0" });
  expect(soak).toBeNull();
  // A release is judged by all of it.
  const { id } = await startRollout(world.ctx, { model, version: "2" });
  const release = await ordered(id, (await attempts(id))[0]!.device);
  expect(release.gates).toMatchObject({ ...strict, parityOnlyAlpha: null });
});

it("reaches devices that no class of today matches", async () => {
  await world.db
    .updateTable("devices")
    .set({ deviceClass: null })
    .where("id", "=", "cam-1")
    .execute();
  await world.db
    .updateTable("devices")
    .set({ deviceClass: "renamed" })
    .where("id", "=", "cam-2")
    .execute();
  const id = await goBack();
  expect((await attempts(id)).map(({ device }) => device).sort()).toEqual(cameras);
  expect((await ordered(id, "cam-1")).deviceClass).toBe("none");
  for (const device of cameras) {
    await answer(id, device);
    await world.reports(device, first.camera);
  }
  expect((await showRollout(world.ctx, id)).status).toBe("completed");
});

it("is offered to a device that comes late, though another could not load it", async () => {
  for (const device of ["cam-2", "cam-3"]) await world.setOnline(device, false);
  const id = await goBack();
  expect(await attempts(id)).toHaveLength(1);
  await answer(id, "cam-1", { outcome: "rolled-back", code: "load", servingSha256: null });
  await world.setOnline("cam-2", true);
  await deviceAppeared(world.ctx, "cam-2");
  expect((await attempts(id)).map(({ device }) => device).sort()).toEqual(["cam-1", "cam-2"]);
});
