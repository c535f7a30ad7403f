/**
 * The link between controller and devices: what is sent twice counts once, what is wanted is said again
 * after a restart, and nobody speaks who may not. A raw MQTT client stands for the device.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startEmbeddedBroker } from "../../controller/broker/embedded-broker.ts";
import type { RunningController } from "../../controller/controller.ts";
import { publishDesired, raiseDesiredRevision } from "../../controller/fleet/desired.ts";
import { enrolDevice } from "../../controller/fleet/enrol.ts";
import { openAuthority } from "../../controller/trust/authority.ts";
import { createClaim } from "../../controller/trust/claims.ts";
import { freePort } from "../../scripts/fleet/programs.ts";
import { sha256Hex } from "../../shared/artifact/hash.ts";
import { generateKeyPair } from "../../shared/artifact/signature.ts";
import type { MqttConnection, MqttConnectOptions } from "../../shared/ports/mqtt.ts";
import {
  decodeMessage,
  encodeMessage,
  type MessageDefinition,
} from "../../shared/protocol/message.ts";
import {
  type MessageName,
  messageOfTopic,
  messages,
  type PayloadOf,
} from "../../shared/protocol/registry.ts";
import { deviceFilter, topicOf } from "../../shared/protocol/topics.ts";
import { sampleEnvelope, samplePayloads } from "../helpers/sample-payloads.ts";
import { realPorts, startTestController, temporaryFolder } from "../helpers/test-controller.ts";
import { until } from "../helpers/until.ts";

const { folder, remove } = temporaryFolder();
const ports = realPorts();
const password = "p".repeat(43);
let mqttPort: number;
let controller: RunningController;

const start = () => startTestController(`${folder}/controller`, { config: { mqttPort } });

beforeAll(async () => {
  mqttPort = await freePort();
  controller = await start();
  for (const device of ["twice", "again", "retired", "kept", "silent"]) {
    const { id } = await createClaim(controller.ctx, { device, region: "eu-west", labels: {} });
    await enrolDevice(controller.ctx, id, {
      ...samplePayloads["enrol-request"],
      publicKey: generateKeyPair().publicKey,
      passwordSha256: sha256Hex(new TextEncoder().encode(password)),
    });
  }
});
afterAll(async () => {
  await controller?.stop();
  remove();
});

interface Received {
  readonly name: MessageName;
  readonly payload: unknown;
}

function connect(device: string, change: Partial<MqttConnectOptions> = {}) {
  return ports.connectMqtt({
    url: controller.mqttUrl,
    caPem: controller.ctx.caPem,
    clientId: device,
    username: `device:${device}`,
    password,
    cleanSession: true,
    keepaliveSeconds: 30,
    connectTimeoutMs: 10_000,
    ...change,
  });
}

/** Collects what the controller sends to the device. */
function listen(connection: MqttConnection): Received[] {
  const received: Received[] = [];
  connection.onMessage((topic, bytes) => {
    const { name } = messageOfTopic(topic);
    const { payload } = decodeMessage(messages[name] as MessageDefinition, bytes);
    received.push({ name, payload });
  });
  return received;
}
const of = <Name extends MessageName>(received: Received[], wanted: Name) =>
  received.filter(({ name }) => name === wanted).map(({ payload }) => payload as PayloadOf<Name>);

function send<Name extends MessageName>(
  connection: MqttConnection,
  device: string,
  name: Name,
  payload: PayloadOf<Name> = samplePayloads[name],
): Promise<void> {
  const message = messages[name] as MessageDefinition;
  const envelope = { ...sampleEnvelope, tenant: "main", device };
  const bytes = encodeMessage(message, envelope, payload);
  return connection.publish(topicOf(message, "main", device), bytes, message.qos);
}
const subscribe = (connection: MqttConnection, device: string) =>
  connection.subscribe(deviceFilter("main", device), 1);
const enough = <T>(what: string, list: () => T[], count: number) =>
  until(what, async () => (list().length >= count ? list() : undefined));

describe("a report", () => {
  it("that is delivered twice is stored once and acked each time", async () => {
    const connection = await connect("twice");
    const received = listen(connection);
    await subscribe(connection, "twice");
    for (const deliveries of [1, 2]) {
      await send(connection, "twice", "telemetry-window");
      await enough("the acks", () => of(received, "ack"), deliveries);
    }
    const { boot, sequence } = sampleEnvelope;
    expect(of(received, "ack")).toEqual(Array(2).fill({ messages: [{ boot, sequence }] }));
    const windows = await controller.ctx.db
      .selectFrom("telemetryWindows")
      .select("id")
      .where("device", "=", "twice")
      .execute();
    expect(windows).toHaveLength(1);
    await connection.end();
  });

  it("of a device that was just retired is dropped, and its connection ends", async () => {
    const connection = await connect("retired");
    const gone = new Promise<true>((resolve) => connection.onClose(() => resolve(true)));
    // As when it connects in the moment in which it is retired: nobody has closed it yet.
    await controller.ctx.db
      .updateTable("devices")
      .set({ standing: "retired" })
      .where("id", "=", "retired")
      .execute();
    await send(connection, "retired", "inventory").catch(() => {});
    expect(await gone).toBe(true);
    const { dataJson } = await controller.ctx.db
      .selectFrom("events")
      .select("dataJson")
      .where("subject", "=", "retired")
      .where("kind", "=", "message-dropped")
      .executeTakeFirstOrThrow();
    expect(JSON.parse(dataJson)).toMatchObject({ code: "device-retired" });
    await expect(connect("retired")).rejects.toMatchObject({ code: "mqtt-refused" });
  });
});

describe("the broker", () => {
  it("keeps nothing for who is away; the birth brings it", async () => {
    const first = await connect("kept", { cleanSession: false });
    await subscribe(first, "kept");
    await first.end();
    await publishDesired(controller.ctx, ["kept"]);
    const second = await connect("kept", { cleanSession: false });
    const received = listen(second);
    await subscribe(second, "kept");
    await send(second, "kept", "birth");
    await enough("the wanted state", () => of(received, "desired"), 1);
    // An ack that follows shows that nothing else was on its way.
    await send(second, "kept", "telemetry-window");
    await enough("the ack", () => of(received, "ack"), 1);
    expect(of(received, "desired")).toHaveLength(1);
    await second.end();
  });

  it.each([0, 1_201])("refuses a client that may be silent for ever: %d s", async (seconds) => {
    await expect(connect("silent", { keepaliveSeconds: seconds })).rejects.toMatchObject({
      code: "mqtt-unreachable",
    });
  });

  it("says which port it cannot have", async () => {
    const authority = await openAuthority(ports.files, ports.random, {
      directory: `${folder}/second`,
      hostNames: ["127.0.0.1"],
    });
    const second = startEmbeddedBroker({
      host: "127.0.0.1",
      port: mqttPort,
      certPem: authority.serverCertPem,
      keyPem: authority.serverKeyPem,
      tenant: "main",
      log: ports.log,
      clock: ports.clock,
      onViolation() {},
      authenticate: async () => undefined,
    });
    await expect(second).rejects.toMatchObject({
      code: "config-invalid",
      message: expect.stringContaining(String(mqttPort)),
    });
  });
});

describe("a restart of the controller", () => {
  it("keeps its keys, so that devices come back and hear what is wanted again", async () => {
    await controller.ctx.db.transaction().execute((trx) => raiseDesiredRevision(trx, ["again"]));
    const { caPem } = controller.ctx;
    await controller.stop();
    controller = await start();
    expect(controller.ctx.caPem).toBe(caPem);
    const connection = await connect("again", { caPem });
    const received = listen(connection);
    await subscribe(connection, "again");
    await send(connection, "again", "birth");
    const [desired] = await enough("the wanted state", () => of(received, "desired"), 1);
    expect(desired).toMatchObject({ revision: 1, standing: "active" });
    await connection.end();
  });
});
