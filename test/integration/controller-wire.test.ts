/**
 * The controller's side of the wire, over the real TLS broker and SQLite: what is stored once, what is
 * sent again, who gets which blocks, and who is not let in.
 */

import { X509Certificate } from "node:crypto";
import { statSync } from "node:fs";
import { connect as connectTls } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RunningController } from "../../controller/controller.ts";
import { getDevice, retireDevice } from "../../controller/fleet/devices.ts";
import { signRelease } from "../../controller/rollout/release.ts";
import type { MqttConnection } from "../../shared/ports/mqtt.ts";
import { decodeMessage } from "../../shared/protocol/message.ts";
import { blockBytes } from "../../shared/protocol/messages/artifact-transfer.ts";
import { desired } from "../../shared/protocol/messages/desired.ts";
import { addRawDevice, connectRawDevice } from "../helpers/raw-device.ts";
import { samplePayloads } from "../helpers/sample-payloads.ts";
import { prepareTinyModel } from "../helpers/small-fleet.ts";
import { realPorts, startTestController, temporaryFolder } from "../helpers/test-controller.ts";
import { until } from "../helpers/until.ts";

const { folder, remove } = temporaryFolder();
const dataDir = `${folder}/controller`;
let controller: RunningController;

beforeAll(async () => {
  controller = await startTestController(dataDir);
  for (const id of ["cam-1", "cam-2"]) await addRawDevice(controller, id);
});
afterAll(async () => {
  await controller?.stop();
  remove();
});

const windows = (device: string) =>
  controller.ctx.db
    .selectFrom("telemetryWindows")
    .select(["startedAtMs", "ok"])
    .where("device", "=", device)
    .orderBy("id")
    .execute();

describe("an outbox message", () => {
  it("has its effect once, however often it comes, and is acked each time", async () => {
    const device = await connectRawDevice(controller, "cam-1");
    const window = samplePayloads["telemetry-window"];
    for (let n = 0; n < 3; n++) {
      await device.send("telemetry-window", window, { sequence: 5 });
      const isAck = ({ messages }: { messages: { sequence: number }[] }) =>
        messages.some(({ sequence }) => sequence === 5);
      await device.take("ack", isAck);
    }
    expect(await windows("cam-1")).toHaveLength(1);
    // The same number of another boot is another message.
    await device.connection.end();
    const again = await connectRawDevice(controller, "cam-1", { boot: "b".repeat(16) });
    await again.send("telemetry-window", window, { sequence: 5 });
    await again.take("ack");
    expect(await windows("cam-1")).toHaveLength(2);
    await again.connection.end();
  });

  it("that comes with many others is acked with them", async () => {
    const device = await connectRawDevice(controller, "cam-2");
    const count = 40;
    for (let sequence = 0; sequence < count; sequence++) {
      void device.send("telemetry-window", samplePayloads["telemetry-window"], { sequence });
    }
    const acked = new Set<number>();
    let acks = 0;
    while (acked.size < count) {
      const { messages } = await device.take("ack");
      for (const { sequence } of messages) acked.add(sequence);
      acks++;
    }
    expect(acks).toBeLessThan(count);
    expect(await windows("cam-2")).toHaveLength(count);
    await device.connection.end();
  });
});

describe("an artifact", () => {
  const requestOf = (sha256: string) => ({ sha256, firstBlock: 0, missing: new Uint8Array([3]) });

  it("is sent to the device that a manifest leads to it, and to no other", async () => {
    const bundle = await prepareTinyModel(controller.ctx, "tiny", "1");
    const deviceClass = controller.ctx.fleet.classes[0]!;
    const manifest = await signRelease(controller.ctx, controller.ctx.db, {
      device: "cam-1",
      deviceClass,
      purpose: "measure",
      releaseCounter: 0,
      bundleSha256: bundle,
      choiceEmulated: false,
    });
    await controller.ctx.db
      .insertInto("measurements")
      .values({
        id: "m-link",
        device: "cam-1",
        deviceClass: deviceClass.name,
        model: "tiny",
        version: "1",
        bundleSha256: bundle,
        manifestJson: JSON.stringify(manifest),
        status: "wanted",
        failureJson: null,
        createdAtMs: controller.ctx.clock.wallMs(),
        finishedAtMs: null,
      })
      .execute();
    const one = await connectRawDevice(controller, "cam-1");
    const other = await connectRawDevice(controller, "cam-2");
    await one.send("artifact-request", requestOf(bundle));
    const block = await one.take("artifact-block");
    expect(block).toMatchObject({ sha256: bundle, index: 0 });
    expect(block.data.byteLength).toBe(Math.min(block.totalBytes, blockBytes));
    await other.send("artifact-request", requestOf(bundle));
    expect(await other.take("artifact-refused")).toMatchObject({ code: "artifact-missing" });
    await one.send("artifact-request", requestOf("0".repeat(64)));
    await one.take("artifact-refused");
    await one.connection.end();
    await other.connection.end();
  }, 60_000);

  it("is refused to a device in quarantine", async () => {
    const { db } = controller.ctx;
    const { bundleSha256 } = await db
      .selectFrom("measurements")
      .select("bundleSha256")
      .where("id", "=", "m-link")
      .executeTakeFirstOrThrow();
    const stand = (standing: string) =>
      db.updateTable("devices").set({ standing }).where("id", "=", "cam-1").execute();
    await stand("quarantined");
    const device = await connectRawDevice(controller, "cam-1");
    await device.send("artifact-request", requestOf(bundleSha256));
    await device.take("artifact-refused");
    await device.connection.end();
    await stand("active");
  });
});

describe("a retired device", () => {
  it("loses its live connection, and its right password opens nothing any more", async () => {
    await addRawDevice(controller, "old");
    const device = await connectRawDevice(controller, "old");
    await device.birth();
    await until("its birth", async () =>
      (await getDevice(controller.ctx, "old")).online ? true : undefined,
    );
    await retireDevice(controller.ctx, "old", "broken");
    await device.closed;
    await expect(connectRawDevice(controller, "old")).rejects.toMatchObject({
      code: "mqtt-refused",
    });
  });
});

describe("a start", () => {
  it("is refused on a folder where another controller runs", async () => {
    await expect(startTestController(dataDir)).rejects.toMatchObject({ code: "conflict" });
  });

  it("keeps keys that only its user reads, under a name of its own and from 1970 on", async () => {
    expect(statSync(`${dataDir}/keys/authority.json`).mode & 0o777).toBe(0o600);
    const certificate = await servedCertificate(controller.mqttUrl, controller.ctx.caPem);
    expect(new Date(certificate.validFrom).getTime()).toBe(0);
    expect(certificate.checkHost("localhost")).toBe("localhost");
    expect(certificate.checkIP("127.0.0.1")).toBe("127.0.0.1");
  });

  it("sends a device what is wanted when it comes, and lets none in before it listens", async () => {
    const caPem = controller.ctx.caPem;
    const mqttPort = Number(new URL(controller.mqttUrl).port);
    await controller.stop();
    const ports = realPorts();
    const sent: string[] = [];
    // The controller's own connection is slow to subscribe; devices are waiting at the door.
    const connectMqtt = async (options: Parameters<typeof ports.connectMqtt>[0]) => {
      const connection = await ports.connectMqtt(options);
      const slow: MqttConnection = {
        ...connection,
        async subscribe(filter, qos) {
          await ports.clock.sleep(1_000);
          await connection.subscribe(filter, qos);
        },
        async publish(topic, bytes, qos) {
          if (topic.endsWith("/desired")) sent.push(decodeMessage(desired, bytes).envelope.device);
          await connection.publish(topic, bytes, qos);
        },
      };
      return slow;
    };
    const config = { mqttPort, publicNames: ["fleet.invalid", "127.0.0.1"] };
    controller = await startTestController(dataDir, { ports: { connectMqtt }, config });
    // Its own connection does not need the public name, which this machine cannot resolve.
    expect(controller.mqttUrl).toBe(`mqtts://fleet.invalid:${mqttPort}`);
    expect(controller.ctx.caPem).toBe(caPem);
    const at = { ctx: controller.ctx, mqttUrl: `mqtts://127.0.0.1:${mqttPort}` };
    const device = await connectRawDevice(at, "cam-1", { boot: "c".repeat(16) });
    await device.birth();
    await until("the birth that came early", async () =>
      (await getDevice(controller.ctx, "cam-1")).online ? true : undefined,
    );
    expect((await device.take("desired")).standing).toBe("active");
    // Nobody else is there to hear it: the others are told when they come.
    expect(new Set(sent)).toEqual(new Set(["cam-1"]));
    await device.connection.end();
  }, 60_000);
});

function servedCertificate(mqttUrl: string, ca: string): Promise<X509Certificate> {
  const { hostname: host, port } = new URL(mqttUrl);
  return new Promise((resolve, reject) => {
    const socket = connectTls({ host, port: Number(port), ca }, () => {
      const { raw } = socket.getPeerCertificate();
      socket.destroy();
      resolve(new X509Certificate(raw));
    });
    socket.once("error", reject);
  });
}
