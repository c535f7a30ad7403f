/**
 * What a device may make the controller believe: enrolment that is asked again, births of copies and of
 * the retired, numbers beyond reason, regions that it was never in. Real database, real broker.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RunningController } from "../../controller/controller.ts";
import type { DeviceClass } from "../../controller/fleet/classes.ts";
import { desiredOf } from "../../controller/fleet/desired.ts";
import { getDevice, reclassify, retireDevice } from "../../controller/fleet/devices.ts";
import { enrolDevice } from "../../controller/fleet/enrol.ts";
import { onBirth } from "../../controller/mqtt/handlers/birth.ts";
import { onInventory } from "../../controller/mqtt/handlers/inventory.ts";
import { onReported } from "../../controller/mqtt/handlers/reported.ts";
import { onTelemetryWindow } from "../../controller/mqtt/handlers/telemetry-window.ts";
import { drawReleaseCounter } from "../../controller/rollout/counter.ts";
import { deviceSummaries, regionSummaries } from "../../controller/telemetry/summary.ts";
import { createClaim } from "../../controller/trust/claims.ts";
import { generateKeyPair } from "../../shared/artifact/signature.ts";
import type { Envelope } from "../../shared/protocol/message.ts";
import { emptyHistogram, withValue } from "../../shared/telemetry/histogram.ts";
import { sampleEnvelope, samplePayloads, sampleProfile } from "../helpers/sample-payloads.ts";
import { startTestController, temporaryFolder } from "../helpers/test-controller.ts";

const { folder, remove } = temporaryFolder();
let controller: RunningController;

beforeAll(async () => {
  controller = await startTestController(`${folder}/controller`);
});
afterAll(async () => {
  await controller?.stop();
  remove();
});

const requestOf = (passwordDigit = "a", publicKey = generateKeyPair().publicKey) => ({
  ...samplePayloads["enrol-request"],
  publicKey,
  passwordSha256: passwordDigit.repeat(64),
});
async function enrolled(device: string, region = "eu-west"): Promise<string> {
  const { id } = await createClaim(controller.ctx, { device, region, labels: {} });
  expect(await enrolDevice(controller.ctx, id, requestOf())).toMatchObject({ accepted: true });
  return id;
}
const sender = (device: string, boot = "1".repeat(16)): Envelope => ({
  ...sampleEnvelope,
  v: 1,
  device,
  boot,
});
const born = (device: string, session: number, boot?: string) =>
  onBirth(controller.ctx, sender(device, boot), { ...samplePayloads.birth, session });
const eventsOf = async (subject: string) =>
  (
    await controller.ctx.db
      .selectFrom("events")
      .select("kind")
      .where("subject", "=", subject)
      .orderBy("id")
      .execute()
  ).map(({ kind }) => kind);

describe("enrolment asked again", () => {
  it("gets the same answer for the same key and password, and makes one device", async () => {
    const { id } = await createClaim(controller.ctx, { region: "eu-west", labels: { site: "a" } });
    const request = requestOf();
    const first = await enrolDevice(controller.ctx, id, request);
    expect(first).toMatchObject({ accepted: true, region: "eu-west", labels: { site: "a" } });
    expect(await enrolDevice(controller.ctx, id, request)).toEqual(first);
    const device = first.accepted ? first.device : "";
    expect(await eventsOf(device)).toEqual(["device-enrolled"]);
  });

  it("is refused with the same key and another password: keys are public", async () => {
    const { id } = await createClaim(controller.ctx, { region: "eu-west", labels: {} });
    const request = requestOf("a");
    const first = await enrolDevice(controller.ctx, id, request);
    const again = await enrolDevice(controller.ctx, id, requestOf("b", request.publicKey));
    expect(again).toMatchObject({ accepted: false, code: "claim-used" });
    const row = await controller.ctx.db
      .selectFrom("devices")
      .select("passwordSha256")
      .where("id", "=", first.accepted ? first.device : "")
      .executeTakeFirstOrThrow();
    expect(row.passwordSha256).toBe("a".repeat(64));
  });
});

describe("a birth", () => {
  it("of a copy quarantines once, for the first reason, and offers no update", async () => {
    await enrolled("copied");
    await born("copied", 5, "1".repeat(16));
    await born("copied", 5, "2".repeat(16));
    const first = await getDevice(controller.ctx, "copied");
    expect(first).toMatchObject({ standing: "quarantined" });
    await born("copied", 5, "3".repeat(16));
    await born("copied", 9, "2".repeat(16));
    expect((await getDevice(controller.ctx, "copied")).standingReason).toBe(first.standingReason);
    expect(await eventsOf("copied")).toEqual(["device-enrolled", "device-quarantined"]);
    expect(await desiredOf(controller.ctx, "copied")).toMatchObject({
      standing: "quarantined",
      revision: 1,
    });
  });

  it("of a retired device does not bring it online, and ends its connection", async () => {
    await enrolled("gone");
    await born("gone", 1);
    await retireDevice(controller.ctx, "gone", "broken");
    await retireDevice(controller.ctx, "gone", "another reason");
    const closed: string[] = [];
    const ctx = { ...controller.ctx, disconnect: (device: string) => closed.push(device) };
    await onBirth(ctx, sender("gone"), { ...samplePayloads.birth, session: 2 });
    expect(closed).toEqual(["gone"]);
    expect(await getDevice(controller.ctx, "gone")).toMatchObject({
      online: false,
      standing: "retired",
      standingReason: "broken",
    });
  });
});

describe("reported numbers", () => {
  const reported = (device: string, releaseCounterHighest: number, desiredRevision = 0) =>
    onReported(controller.ctx, sender(device), {
      desiredRevision,
      holds: [],
      models: {
        counted: { committed: null, servingSha256: null, releaseCounterHighest, update: null },
      },
    });
  const draw = () =>
    controller.ctx.db.transaction().execute((trx) => drawReleaseCounter(trx, "counted"));

  it("above ours move ours, those beyond reason do not", async () => {
    await enrolled("counter");
    await reported("counter", 41);
    expect(await draw()).toBe(42);
    await reported("counter", Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
    expect(await draw()).toBe(43);
    expect(await desiredOf(controller.ctx, "counter")).toMatchObject({ revision: 0 });
  });

  it("move a wanted state that is behind its device's past it", async () => {
    await enrolled("ahead");
    await reported("ahead", 0, 17);
    expect(await desiredOf(controller.ctx, "ahead")).toMatchObject({ revision: 18 });
  });
});

describe("the class of a device", () => {
  it("follows its inventory and the operator's file, and says so", async () => {
    await enrolled("grown");
    const { classes } = controller.ctx.fleet;
    const one: DeviceClass = { ...classes[0]!, name: "small", match: { ramBytesMax: 8e9 } };
    const two: DeviceClass = { ...classes[0]!, name: "big", match: {} };
    const withClasses = (...list: DeviceClass[]) => ({
      ...controller.ctx,
      fleet: { ...controller.ctx.fleet, classes: list },
    });
    await reclassify(withClasses(one, two));
    expect(await getDevice(controller.ctx, "grown")).toMatchObject({ deviceClass: "small" });
    const inventory = {
      ...samplePayloads.inventory,
      profile: { ...sampleProfile, ramBytes: 16e9 },
    };
    await controller.ctx.db
      .transaction()
      .execute((trx) => onInventory(withClasses(one, two), trx, sender("grown"), inventory));
    expect(await getDevice(controller.ctx, "grown")).toMatchObject({ deviceClass: "big" });
    await reclassify(withClasses(one));
    expect(await getDevice(controller.ctx, "grown")).toMatchObject({ deviceClass: null });
    expect(
      (await eventsOf("grown")).filter((kind) => kind === "device-class-changed"),
    ).toHaveLength(3);
  });
});

describe("telemetry", () => {
  const latency = (...values: number[]) => values.reduce(withValue, emptyHistogram());
  const window = (device: string, region: string, change: object) =>
    controller.ctx.db.transaction().execute((trx) =>
      onTelemetryWindow(controller.ctx, trx, sender(device), {
        ...samplePayloads["telemetry-window"],
        model: "watched",
        region,
        errors: 0,
        timeouts: 0,
        ...change,
      }),
    );

  it("adds up per region of its time and per device, and only where a device has been", async () => {
    await enrolled("moved");
    await enrolled("still");
    await controller.ctx.db
      .insertInto("devicePlacements")
      .values({ device: "moved", sinceMs: 1, region: "us-east", labelsJson: "{}" })
      .execute();
    const a = "a".repeat(64);
    const b = "b".repeat(64);
    await window("moved", "us-east", { ok: 1, errors: 1, bundleSha256: a, latency: latency(100) });
    await window("moved", "eu-west", { ok: 2, bundleSha256: a, latency: latency(10, 10) });
    await window("still", "eu-west", { ok: 1, bundleSha256: b, latency: latency(40) });
    // A region that the device was never in counts where it is.
    await window("still", "us-east", { ok: 1, bundleSha256: b, latency: latency(40) });
    const [europe, america] = await regionSummaries(controller.ctx, { model: "watched" });
    expect(europe).toMatchObject({
      region: "eu-west",
      devices: 2,
      inferences: 4,
      errorFraction: 0,
      bundles: [a, b],
    });
    // Buckets are 2.2 % wide.
    expect(europe?.latencyP50Ms).toBeCloseTo(10, 0);
    expect(Math.abs((europe?.latencyP90Ms ?? 0) - 40)).toBeLessThan(1);
    expect(america).toMatchObject({ region: "us-east", devices: 1, errorFraction: 0.5 });
    expect(await deviceSummaries(controller.ctx, { model: "watched" })).toMatchObject([
      { device: "moved", inferences: 4, errorFraction: 0.25 },
      { device: "still", inferences: 2, errorFraction: 0 },
    ]);
    expect(await regionSummaries(controller.ctx, { model: "unwatched" })).toEqual([]);
  });
});
