/**
 * What a device accepts, refuses and keeps: a real agent against a real controller over the TLS broker.
 * Each bad order has its code and leaves what is served as it was.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RunningAgent } from "../../agent/agent.ts";
import type { RunningController } from "../../controller/controller.ts";
import { listDevices, retireDevice } from "../../controller/fleet/devices.ts";
import { enrolDevice } from "../../controller/fleet/enrol.ts";
import { createClaim } from "../../controller/trust/claims.ts";
import { systemFiles } from "../../shared/adapters/system-files.ts";
import { generateKeyPair } from "../../shared/artifact/signature.ts";
import type { Files } from "../../shared/ports/files.ts";
import { samplePayloads } from "../helpers/sample-payloads.ts";
import {
  changedManifest,
  claimFor,
  deviceDir,
  offer,
  prepareTinyModel,
} from "../helpers/small-fleet.ts";
import { startTestAgent } from "../helpers/test-agent.ts";
import { startTestController, temporaryFolder } from "../helpers/test-controller.ts";
import { until } from "../helpers/until.ts";

const device = "cam-1";
const { folder, remove } = temporaryFolder();
const dataDir = deviceDir(folder, device);
let controller: RunningController;
let agent: RunningAgent;
let bundle: string;
let other: string;
/** Turned on by the full disk test; everything but writes goes on. */
let diskFull = false;

/** Real files whose writes fail as those of a full disk do. */
function filesWithLimits(): Files {
  const files = systemFiles();
  return {
    ...files,
    async open(path, mode) {
      if (diskFull) throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
      return files.open(path, mode);
    },
  };
}

beforeAll(async () => {
  controller = await startTestController(deviceDir(folder, "controller"));
  bundle = await prepareTinyModel(controller.ctx, "digits", "1");
  other = await prepareTinyModel(controller.ctx, "meters", "1");
  agent = await startTestAgent({
    dataDir,
    claimToken: await claimFor(controller.ctx, device),
    ports: { files: filesWithLimits() },
  });
  await until("the device to be online", async () =>
    (await listDevices(controller.ctx)).some(({ online }) => online) ? true : undefined,
  );
}, 60_000);

afterAll(async () => {
  await agent?.stop();
  await controller?.stop();
  remove();
});

const served = async (model = "digits") => {
  const answer = await fetch(`${agent.serveUrl}/v1/models`);
  const { models } = (await answer.json()) as {
    models: { name: string; servingSha256: string | null }[];
  };
  return models.find(({ name }) => name === model)?.servingSha256 ?? null;
};
const infer = (model: string) =>
  fetch(`${agent.serveUrl}/v1/models/${model}/infer`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ inputs: { x: Buffer.alloc(64, 9).toString("base64") } }),
  });
const target = (releaseCounter: number) => ({ device, bundleSha256: bundle, releaseCounter });

describe("a device", () => {
  it("commits a first install and answers from it", async () => {
    const manifest = await changedManifest(controller.ctx, target(5));
    const outcome = await offer(controller, {
      attempt: "first",
      device,
      model: "digits",
      manifest,
    });
    expect(outcome).toMatchObject({ outcome: "committed", servingSha256: bundle });
    expect(await served()).toBe(bundle);
    const answer = await infer("digits");
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ bundleSha256: bundle });
  });

  it("updates a second model without touching the first", async () => {
    const manifest = await changedManifest(controller.ctx, {
      device,
      bundleSha256: other,
      releaseCounter: 1,
    });
    const outcome = await offer(controller, {
      attempt: "second",
      device,
      model: "meters",
      manifest,
    });
    expect(outcome).toMatchObject({ outcome: "committed", servingSha256: other });
    expect(await served("meters")).toBe(other);
    expect(await served("digits")).toBe(bundle);
  });

  const hour = 3_600_000;
  it.each([
    ["a wrong signature", "signature-invalid", {}, true, 6],
    ["an expired manifest", "manifest-expired", { issuedAtMs: 0, expiresAtMs: hour }, false, 6],
    ["an older release counter", "release-older", {}, false, 4],
    ["a manifest for another device", "manifest-foreign", { device: "cam-2" }, false, 6],
    [
      "another onnxruntime",
      "manifest-foreign",
      { runtime: { onnxruntimeMin: "99.0.0", onnxruntimeMaxExclusive: "100.0.0" } },
      false,
      6,
    ],
    ["a newer agent", "manifest-foreign", { agentMin: "99.0.0" }, false, 6],
  ])("refuses %s as %s", async (_what, code, change, forged, counter) => {
    const key = forged ? generateKeyPair() : controller.ctx.signingKey;
    const manifest = await changedManifest(controller.ctx, target(counter), change, key);
    const attempt = `refused-${code}-${Object.keys(change).join("")}`.toLowerCase();
    const outcome = await offer(controller, { attempt, device, model: "digits", manifest });
    expect(outcome).toMatchObject({ outcome: "refused", code, servingSha256: bundle });
    expect(await served()).toBe(bundle);
  });

  it("fails an artifact that is longer than announced, and keeps serving", async () => {
    const manifest = await changedManifest(controller.ctx, target(7), { filesBytes: 10 });
    const outcome = await offer(controller, {
      attempt: "too-long",
      device,
      model: "digits",
      manifest,
    });
    expect(outcome).toMatchObject({
      outcome: "failed",
      code: "artifact-too-long",
      servingSha256: bundle,
    });
    expect(await served()).toBe(bundle);
  });

  it("fails an update on a full disk, keeps serving, and takes the next one", async () => {
    diskFull = true;
    const full = await changedManifest(controller.ctx, target(8));
    const outcome = await offer(controller, {
      attempt: "full",
      device,
      model: "digits",
      manifest: full,
    });
    expect(outcome).toMatchObject({ outcome: "failed", code: "disk-full", servingSha256: bundle });
    diskFull = false;
    expect((await infer("digits")).status).toBe(200);
    const again = await changedManifest(controller.ctx, target(9));
    const next = await offer(controller, {
      attempt: "after-full",
      device,
      model: "digits",
      manifest: again,
    });
    expect(next).toMatchObject({ outcome: "committed" });
  });

  it("refuses a sample that does not fit, with a code and not as the model's error", async () => {
    const answer = await fetch(`${agent.serveUrl}/v1/models/digits/infer`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ inputs: { x: "AAAA" } }),
    });
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ code: "golden-mismatch" });
  });
});

describe("a claim token", () => {
  const join = (name: string, claimToken: string) =>
    startTestAgent({ dataDir: deviceDir(folder, name), claimToken });

  it("is refused when it expired", async () => {
    const token = await claimFor(controller.ctx, "late", 1);
    await expect(join("late", token)).rejects.toMatchObject({ code: "claim-expired" });
  });

  it("is refused to a second device", async () => {
    const token = await claimFor(controller.ctx, "twin");
    const first = await join("twin-a", token);
    await expect(join("twin-b", token)).rejects.toMatchObject({ code: "claim-used" });
    await first.stop();
  });

  it("never brings a retired device back", async () => {
    const token = await claimFor(controller.ctx, "old");
    const old = await join("old", token);
    await old.stop();
    await retireDevice(controller.ctx, "old", "broken");
    const row = (await listDevices(controller.ctx)).find(({ id }) => id === "old");
    expect(row).toMatchObject({ standing: "retired", online: false });
    await expect(claimFor(controller.ctx, "old")).rejects.toMatchObject({ code: "conflict" });
    // The same key with a fresh claim is known as well.
    const { publicKeyJson } = await controller.ctx.db
      .selectFrom("devices")
      .select("publicKeyJson")
      .where("id", "=", "old")
      .executeTakeFirstOrThrow();
    const { id } = await createClaim(controller.ctx, { region: "eu-west", labels: {} });
    const answer = await enrolDevice(controller.ctx, id, {
      ...samplePayloads["enrol-request"],
      publicKey: JSON.parse(publicKeyJson),
    });
    expect(answer).toMatchObject({ accepted: false, code: "device-retired" });
    // Its old credential is dead at the broker.
    await expect(
      controller.ctx.connectMqtt({
        url: controller.mqttUrl,
        caPem: controller.ctx.caPem,
        clientId: "old",
        username: "device:old",
        password: "whatever",
        cleanSession: true,
        keepaliveSeconds: 30,
        connectTimeoutMs: 5_000,
      }),
    ).rejects.toMatchObject({ code: "mqtt-refused" });
  });
});
