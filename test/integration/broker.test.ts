/**
 * The embedded broker at its borders: who may write and read what, what bad messages do, and what five
 * hundred connections do when it restarts.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startEmbeddedBroker } from "../../controller/broker/embedded-broker.ts";
import type { RunningController } from "../../controller/controller.ts";
import { noteAbsence, storeAbsence } from "../../controller/fleet/absence.ts";
import { listDevices } from "../../controller/fleet/devices.ts";
import { openAuthority } from "../../controller/trust/authority.ts";
import { freePort } from "../../scripts/fleet/programs.ts";
import { createSessionLoop, type SessionLoop } from "../../shared/connection.ts";
import type { MqttConnection } from "../../shared/ports/mqtt.ts";
import { encodeMessage } from "../../shared/protocol/message.ts";
import { birth, death } from "../../shared/protocol/messages/presence.ts";
import { topicOf } from "../../shared/protocol/topics.ts";
import { addRawDevice, rawPassword } from "../helpers/raw-device.ts";
import { realPorts, startTestController, temporaryFolder } from "../helpers/test-controller.ts";
import { until } from "../helpers/until.ts";

const { folder, remove } = temporaryFolder();
const ports = realPorts();
let controller: RunningController;

beforeAll(async () => {
  controller = await startTestController(`${folder}/controller`);
  for (const id of ["cam-1", "cam-2", "cam-3"]) await addRawDevice(controller, id);
});
afterAll(async () => {
  await controller?.stop();
  remove();
});

function connect(
  id: string,
  change: {
    clientId?: string;
    password?: string;
    boot?: string;
    session?: number;
    will?: string;
  } = {},
) {
  const { boot = "a".repeat(16), session = 1 } = change;
  return ports.connectMqtt({
    url: controller.mqttUrl,
    caPem: controller.ctx.caPem,
    clientId: change.clientId ?? id,
    username: `device:${id}`,
    password: change.password ?? rawPassword,
    cleanSession: true,
    keepaliveSeconds: 30,
    connectTimeoutMs: 10_000,
    will: {
      topic: change.will ?? topicOf(death, "main", id),
      payload: encodeMessage(death, envelope(id, boot), { session }),
      qos: 1,
    },
  });
}

const envelope = (device: string, boot: string) => ({
  tenant: "main",
  device,
  boot,
  sequence: 1,
  monotonicMs: 1,
  wallMs: null,
  clockTrusted: false,
});
const birthBytes = (device: string, boot: string, session: number) =>
  encodeMessage(birth, envelope(device, boot), {
    session,
    agentVersion: "0.1.0",
    profileFingerprint: "f",
    emulated: true,
    outboxPending: 0,
  });
const closed = (connection: MqttConnection) =>
  new Promise<boolean>((resolve) => {
    connection.onClose(() => resolve(true));
    setTimeout(() => resolve(false), 5_000);
  });
const deviceRow = async (id: string) =>
  (await listDevices(controller.ctx)).find((one) => one.id === id);
const events = (kind: string) =>
  controller.ctx.db.selectFrom("events").selectAll().where("kind", "=", kind).execute();

describe("access", () => {
  it("refuses a wrong password and a foreign client id", async () => {
    await expect(connect("cam-1", { password: "wrong" })).rejects.toMatchObject({
      code: "mqtt-refused",
    });
    await expect(connect("cam-1", { clientId: "cam-2" })).rejects.toMatchObject({
      code: "mqtt-refused",
    });
  });

  it("closes the connection of a device that writes to another's topic, and says so", async () => {
    const connection = await connect("cam-1");
    const gone = closed(connection);
    const forged = birthBytes("cam-2", "b".repeat(16), 1);
    await connection.publish(topicOf(birth, "main", "cam-2"), forged, 0).catch(() => {});
    expect(await gone).toBe(true);
    expect(await events("topic-foreign")).toHaveLength(1);
    expect(await deviceRow("cam-2")).toMatchObject({ online: false });
  });

  it.each(["fleetfit/v1/main/d/cam-2/+", "#", "fleetfit/v1/main/d/+/+"])(
    "closes the connection of a device that wants to read %s",
    async (filter) => {
      const connection = await connect("cam-1");
      const gone = closed(connection);
      await expect(connection.subscribe(filter, 1)).rejects.toMatchObject({
        code: expect.stringMatching(/^mqtt-/),
      });
      expect(await gone).toBe(true);
    },
  );

  it("refuses a last will that is not the device's own", async () => {
    const will = topicOf(death, "main", "cam-2");
    await expect(connect("cam-1", { will })).rejects.toMatchObject({ code: "mqtt-refused" });
  });

  it("closes a connection whose packet announces too many bytes", async () => {
    const connection = await connect("cam-1");
    const gone = closed(connection);
    await connection
      .publish(topicOf(birth, "main", "cam-1"), new Uint8Array(2_000_000), 0)
      .catch(() => {});
    expect(await gone).toBe(true);
  });
});

describe("bad messages", () => {
  it.each([
    ["message-too-large", () => new Uint8Array(20_000)],
    ["message-malformed", () => new Uint8Array([1, 2, 3])],
    [
      "message-version-unknown",
      () =>
        encodeMessage({ ...birth, version: 99 }, envelope("cam-1", "c".repeat(16)), {
          session: 1,
          agentVersion: "0.1.0",
          profileFingerprint: "f",
          emulated: true,
          outboxPending: 0,
        }),
    ],
    ["topic-foreign", () => birthBytes("cam-2", "c".repeat(16), 1)],
  ])("are dropped with the code %s, and change nothing", async (code, bytes) => {
    const before = await deviceRow("cam-1");
    const connection = await connect("cam-1");
    await connection.publish(topicOf(birth, "main", "cam-1"), bytes(), 1);
    await until(`an event with ${code}`, async () => {
      const found = await events("message-dropped");
      return found.some(({ dataJson }) => dataJson.includes(`"${code}"`)) ? true : undefined;
    });
    await connection.end();
    expect((await deviceRow("cam-1"))?.online).toBe(before?.online);
  });
});

describe("presence", () => {
  it("ignores the will of an older session, and quarantines a clone", async () => {
    const first = await connect("cam-2", { boot: "1".repeat(16), session: 1 });
    await first.publish(topicOf(birth, "main", "cam-2"), birthBytes("cam-2", "1".repeat(16), 1), 1);
    await until("the first session", async () =>
      (await deviceRow("cam-2"))?.online ? true : undefined,
    );
    // A second boot takes over; the broker sends the will of the first one.
    const second = await connect("cam-2", { boot: "2".repeat(16), session: 2 });
    await second.publish(
      topicOf(birth, "main", "cam-2"),
      birthBytes("cam-2", "2".repeat(16), 2),
      1,
    );
    await until("the second session", async () =>
      (await deviceRow("cam-2"))?.online ? true : undefined,
    );
    // The first boot comes back with a new session: two devices hold one identity.
    const third = await connect("cam-2", { boot: "1".repeat(16), session: 2 });
    await third.publish(topicOf(birth, "main", "cam-2"), birthBytes("cam-2", "1".repeat(16), 2), 1);
    await until("the quarantine", async () =>
      (await deviceRow("cam-2"))?.standing === "quarantined" ? true : undefined,
    );
    expect((await deviceRow("cam-2"))?.standingReason).toMatch(/session 2/);
    await third.end();
  });
});

describe("who is there", () => {
  it("is told by the broker, and when it was heard of last", async () => {
    const { ctx } = controller;
    const connection = await connect("cam-3", { boot: "c".repeat(16) });
    expect(ctx.isConnected("cam-3")).toBe(true);
    const first = ctx.heardAtMs("cam-3")!;
    expect(Math.abs(ports.clock.wallMs() - first)).toBeLessThan(60_000);
    await until("another moment", async () => ports.clock.wallMs() > first || undefined);
    await connection.publish(
      topicOf(birth, "main", "cam-3"),
      birthBytes("cam-3", "c".repeat(16), 1),
      1,
    );
    const second = ctx.heardAtMs("cam-3")!;
    expect(second).toBeGreaterThan(first);
    await until("its birth", async () => (await deviceRow("cam-3"))?.online || undefined);
    // A clean end without a word, as a will that was lost on its way.
    await connection.end();
    await until("the end", async () => !ctx.isConnected("cam-3") || undefined);
    const last = ctx.heardAtMs("cam-3")!;
    expect(last).toBeGreaterThanOrEqual(second);
    expect(await deviceRow("cam-3")).toMatchObject({ online: true });

    await storeAbsence(ctx, ctx.db, { id: "cam-3", session: 0, lastSeenAtMs: null });
    expect(await deviceRow("cam-3")).toMatchObject({ online: true });
    await noteAbsence(ctx);
    expect(await deviceRow("cam-3")).toMatchObject({ online: false, lastSeenAtMs: last });
    expect(ctx.heardAtMs("nobody")).toBeUndefined();
  });

  it("leaves those alone that are connected", async () => {
    const connection = await connect("cam-3", { boot: "d".repeat(16), session: 2 });
    await connection.publish(
      topicOf(birth, "main", "cam-3"),
      birthBytes("cam-3", "d".repeat(16), 2),
      1,
    );
    await until("its birth", async () => (await deviceRow("cam-3"))?.online || undefined);
    await noteAbsence(controller.ctx);
    expect(await deviceRow("cam-3")).toMatchObject({ online: true });
    await connection.end();
  });
});

describe("a restart of the broker", () => {
  const connections = 500;
  it("brings five hundred connections back within a minute, spread out", async () => {
    const authority = await openAuthority(ports.files, ports.random, {
      directory: `${folder}/herd`,
      hostNames: ["127.0.0.1"],
    });
    const port = await freePort();
    const start = () =>
      startEmbeddedBroker({
        host: "127.0.0.1",
        port,
        certPem: authority.serverCertPem,
        keyPem: authority.serverKeyPem,
        tenant: "main",
        log: ports.log,
        clock: ports.clock,
        onViolation() {},
        authenticate: async ({ clientId }) => ({ kind: "device", id: clientId }),
      });
    const broker = await start();
    const backAtMs: number[] = [];
    let restartedAtMs = 0;
    const loops: SessionLoop[] = Array.from({ length: connections }, (_, index) =>
      createSessionLoop({
        connect: ports.connectMqtt,
        clock: ports.clock,
        random: ports.random,
        log: ports.log,
        options: () => ({
          url: `mqtts://127.0.0.1:${port}`,
          caPem: authority.caPem,
          clientId: `herd-${index}`,
          username: `device:herd-${index}`,
          password: rawPassword,
          cleanSession: true,
          keepaliveSeconds: 60,
          connectTimeoutMs: 30_000,
        }),
        async onConnected() {
          if (restartedAtMs > 0) backAtMs.push(performance.now() - restartedAtMs);
        },
      }),
    );
    for (const loop of loops) loop.start();
    await until(
      "all to be connected",
      async () => (broker.connections() === connections ? true : undefined),
      60_000,
    );
    await broker.stop();
    restartedAtMs = performance.now();
    const next = await start();
    await until(
      "all to be back",
      async () => (next.connections() >= connections ? true : undefined),
      60_000,
    );
    await Promise.all(loops.map((loop) => loop.stop()));
    await next.stop();
    expect(new Set(backAtMs.map((ms) => Math.round(ms / 10))).size).toBeGreaterThan(20);
  }, 180_000);
});
