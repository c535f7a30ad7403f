/** Measurements in a real database: who is asked, and that a device that went away prevents no choice. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { desiredOf } from "../../controller/fleet/desired.ts";
import {
  closeLateMeasurements,
  listMeasurements,
  onMeasurement,
  startMeasurements,
} from "../../controller/measure/service.ts";
import { listChoices } from "../../controller/plan/service.ts";
import { verifyManifest } from "../../shared/artifact/manifest.ts";
import { model, type RolloutWorld, rolloutWorld, senderOf } from "../helpers/rollout-world.ts";
import { samplePayloads } from "../helpers/sample-payloads.ts";

let world: RolloutWorld;
const order = { model, version: "1" };
const hourMs = 3_600_000;

beforeEach(async () => {
  world = await rolloutWorld();
  await world.addVersion("1");
  await world.db.deleteFrom("choices").execute();
  await world.addDevice("cam-1", "camera");
  await world.addDevice("met-1", "meter");
});
afterEach(() => world.db.destroy());

const wanted = async () =>
  (await listMeasurements(world.ctx, order)).filter(({ status }) => status === "wanted");
const setDevice = (id: string, change: { online?: number; labelsJson?: string }) =>
  world.db.updateTable("devices").set(change).where("id", "=", id).execute();

async function answer(device: string): Promise<void> {
  const row = (await wanted()).find((one) => one.device === device)!;
  const payload = {
    ...samplePayloads.measurement,
    measurement: row.id,
    bundleSha256: row.bundleSha256,
    facts: [
      { metric: "golden-metric" as const, value: 0.95, interval: null, n: 500 },
      { metric: "latency-p50-ms" as const, value: 1, interval: null, n: 500 },
    ],
    failure: null,
  };
  const afterwards = await world.db
    .transaction()
    .execute((trx) => onMeasurement(world.ctx, trx, senderOf(device), payload));
  await afterwards?.();
}
const chosen = async () =>
  (await listChoices(world.ctx, order)).map(({ deviceClass, recipe }) => [deviceClass, recipe]);

it("asks an online device of each class, the lab's first, for what its class may run", async () => {
  await world.addDevice("cam-2", "camera");
  await setDevice("cam-2", { labelsJson: '{"role":"lab"}' });
  await setDevice("met-1", { online: 0 });
  await startMeasurements(world.ctx, order);
  expect((await wanted()).map(({ device }) => device)).toEqual(["cam-2"]);
  const desired = await desiredOf(world.ctx, "cam-2");
  const [ordered] = desired!.measurements;
  const manifest = verifyManifest(ordered!.manifest, [world.ctx.signingKey.publicKey]);
  expect(manifest).toMatchObject({ purpose: "measure", device: "cam-2", releaseCounter: 0 });
  expect(world.sent).toMatchObject([{ name: "desired", device: "cam-2" }]);
});

it("asks nothing twice, and another device when the first one is away", async () => {
  await startMeasurements(world.ctx, order);
  const first = await wanted();
  await startMeasurements(world.ctx, order);
  expect(await wanted()).toEqual(first);
  await world.addDevice("cam-2", "camera");
  await setDevice("cam-1", { online: 0 });
  await startMeasurements(world.ctx, order);
  expect((await wanted()).map(({ device }) => device).sort()).toEqual(["cam-2", "met-1"]);
  expect((await desiredOf(world.ctx, "cam-1"))?.measurements).toEqual([]);
  await answer("met-1");
  expect(await chosen()).toEqual([]);
  await answer("cam-2");
  expect(await chosen()).toEqual([
    ["camera", "fp32"],
    ["meter", "int8"],
  ]);
});

it.each([
  ["does not answer", () => world.passTime(hourMs), /did not answer/],
  ["retired", () => world.setStanding("met-1", "retired"), /is retired/],
])("chooses without a device that %s, and says so", async (_what, leave, why) => {
  await startMeasurements(world.ctx, order);
  await answer("cam-1");
  await closeLateMeasurements(world.ctx);
  expect(await chosen()).toEqual([]);
  await leave();
  await closeLateMeasurements(world.ctx);
  expect(await chosen()).toEqual([
    ["camera", "fp32"],
    ["meter", null],
  ]);
  const failed = (await listMeasurements(world.ctx, order)).find(
    ({ device }) => device === "met-1",
  );
  expect(failed).toMatchObject({ status: "failed", failureJson: expect.stringMatching(why) });
});

it("waits for answers that devices bring after the controller was down for long", async () => {
  await startMeasurements(world.ctx, order);
  world.passTime(hourMs);
  world.restart();
  await closeLateMeasurements(world.ctx);
  expect(await wanted()).toHaveLength(2);
  world.passTime(hourMs);
  await closeLateMeasurements(world.ctx);
  expect(await wanted()).toEqual([]);
});

it("has nothing to ask when no device is there", async () => {
  for (const id of ["cam-1", "met-1"]) await setDevice(id, { online: 0 });
  await expect(startMeasurements(world.ctx, order)).rejects.toMatchObject({ code: "not-found" });
});
