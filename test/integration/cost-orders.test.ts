/** Orders of cost tables in a real database: who is asked, what is kept, what speaks for a class. */
import type { Updateable } from "kysely";
import { afterEach, beforeEach, expect, it } from "vitest";
import { onArtifactRequest } from "../../controller/artifacts/block-server.ts";
import { costProbes } from "../../controller/compress/cost/probes.ts";
import { desiredOf } from "../../controller/fleet/desired.ts";
import {
  closeLateCosts,
  costsOf,
  costsOfClass,
  onCostTable,
  orderCosts,
  orderMissingCosts,
} from "../../controller/measure/costs.ts";
import type { DeviceTable } from "../../controller/storage/schema.ts";
import { verifyCostOrder } from "../../shared/artifact/cost-order.ts";
import { decodeCostProbes } from "../../shared/inference/cost-probes.ts";
import type { PayloadOf } from "../../shared/protocol/registry.ts";
import { type RolloutWorld, rolloutWorld, senderOf } from "../helpers/rollout-world.ts";
import { samplePayloads } from "../helpers/sample-payloads.ts";

const hourMs = 3_600_000;
const probes = costProbes().slice(0, 1);
let world: RolloutWorld;

beforeEach(async () => {
  world = await rolloutWorld();
  for (const id of ["cam-1", "cam-2"]) await world.addDevice(id, "camera");
  await world.db.updateTable("devices").set({ fingerprint: "f" }).execute();
});
afterEach(() => world.db.destroy());

const order = (device: string) => orderCosts(world.ctx, device, probes);
const orderMissing = (...devices: string[]) => orderMissingCosts(world.ctx, devices, probes);
const setDevice = (id: string, change: Updateable<DeviceTable>) =>
  world.db.updateTable("devices").set(change).where("id", "=", id).execute();

async function answer(device: string, change: Partial<PayloadOf<"cost-table">> = {}) {
  const { costs } = (await desiredOf(world.ctx, device))!;
  const measurement = costs?.measurement ?? "c-none";
  const payload = { ...samplePayloads["cost-table"], fingerprint: "f", measurement, ...change };
  const afterwards = await world.db
    .transaction()
    .execute((trx) => onCostTable(world.ctx, trx, senderOf(device), payload));
  await afterwards?.();
}
const known = (id = "cam-1") => costsOf(world.ctx, { id, fingerprint: "f" });
const rows = () => world.db.selectFrom("costTables").select(["device", "status"]).execute();

it("signs one order for one device, which names the probes and lets it have them", async () => {
  await order("cam-1");
  const { costs } = (await desiredOf(world.ctx, "cam-1"))!;
  const signed = verifyCostOrder(costs!.order, [world.ctx.signingKey.publicKey]);
  expect(signed).toMatchObject({ device: "cam-1", tenant: "main" });
  const bytes = world.blobs.get(signed.probes.sha256)!;
  expect(signed.probes.bytes).toBe(bytes.byteLength);
  expect([...decodeCostProbes(bytes)]).toEqual(probes);
  const request = { sha256: signed.probes.sha256, firstBlock: 0, missing: new Uint8Array([1]) };
  const ordered: string[] = [];
  const blockQueue = { order: (device: string) => ordered.push(device) };
  const ctx = { ...world.ctx, blockQueue } as unknown as typeof world.ctx;
  for (const device of ["cam-1", "cam-2"]) await onArtifactRequest(ctx, senderOf(device), request);
  expect(ordered).toEqual(["cam-1"]);
  expect(world.sent.at(-1)).toMatchObject({ name: "artifact-refused", device: "cam-2" });
});

it.each([
  ["is away", { online: 0 }, /offline/],
  ["runs an agent that knows no orders", { agentVersion: "0.2.0" }, /runs agent 0\.2\.0/],
])("asks no device that %s", async (_what, change, why) => {
  await setDevice("cam-1", change);
  await expect(order("cam-1")).rejects.toMatchObject({ code: "conflict" });
  await expect(order("cam-1")).rejects.toThrow(why);
  expect(await rows()).toEqual([]);
});

it("asks one device of each hardware by itself, once", async () => {
  await orderMissing("cam-1", "cam-2");
  const [asked, ...others] = await rows();
  expect(others).toEqual([]);
  await orderMissing(asked!.device);
  await answer(asked!.device, { table: null, failure: { code: "runner-timeout", why: "late" } });
  await orderMissing("cam-1", "cam-2");
  await setDevice("cam-1", { online: 0, fingerprint: "g" });
  await orderMissing("cam-1");
  expect(await rows()).toEqual([{ ...asked, status: "failed" }]);
  await setDevice("cam-1", { online: 1 });
  await orderMissing("cam-1", "cam-2");
  expect((await rows()).filter(({ status }) => status === "wanted")).toEqual([
    { device: "cam-1", status: "wanted" },
  ]);
});

it("takes one answer to what was asked, and none else", async () => {
  await answer("cam-1");
  expect((await known()).measured).toBeNull();
  await order("cam-1");
  await answer("cam-2", { measurement: (await desiredOf(world.ctx, "cam-1"))!.costs!.measurement });
  expect(await known()).toMatchObject({ pending: true, measured: null });
  await answer("cam-1");
  expect(await known()).toMatchObject({ pending: false, measured: { device: "cam-1" } });
  expect((await desiredOf(world.ctx, "cam-1"))!.costs).toBeNull();
});

it("keeps the newest table of a device, and the steady and real one before others", async () => {
  for (const [device, change] of [
    ["cam-1", {}],
    ["cam-1", { environmentDegraded: true }],
    ["cam-2", { emulated: true }],
  ] as const) {
    await order(device);
    world.passTime(1);
    await answer(device, change);
  }
  expect(await rows()).toHaveLength(2);
  expect((await known("cam-2")).measured).toMatchObject({ device: "cam-1", degraded: true });
  const found = await costsOfClass(world.db, "camera");
  expect(found?.measured).toMatchObject({ device: "cam-1", emulated: false });
  expect(await costsOfClass(world.db, "meter")).toBeUndefined();
});

it("says why there is no table, until the device is asked again", async () => {
  const failure = { code: "runner-memory", why: "too much" };
  await order("cam-1");
  await answer("cam-1", { table: null, failure });
  expect(await known()).toEqual({ pending: false, failure, measured: null });
  await order("cam-1");
  expect(await known()).toMatchObject({ pending: true, failure: null });
  world.passTime(hourMs);
  await closeLateCosts(world.ctx);
  expect(await known()).toMatchObject({ pending: false, failure: { code: "measurement-late" } });
});
