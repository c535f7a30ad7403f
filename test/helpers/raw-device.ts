/** A device without an agent: a row in the database and a bare MQTT connection, to send anything with. */
import type { RunningController } from "../../controller/controller.ts";
import { systemClock } from "../../shared/adapters/system-clock.ts";
import { connectSystemMqtt } from "../../shared/adapters/system-mqtt.ts";
import { sha256Hex } from "../../shared/artifact/hash.ts";
import type { MqttConnection } from "../../shared/ports/mqtt.ts";
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
import { sampleProfile } from "./sample-payloads.ts";
import { until } from "./until.ts";

const tenant = "main";
export const rawPassword = "p".repeat(40);

export async function addRawDevice({ ctx }: RunningController, id: string): Promise<void> {
  await ctx.db
    .insertInto("devices")
    .values({
      id,
      publicKeyJson: "{}",
      passwordSha256: sha256Hex(new TextEncoder().encode(rawPassword)),
      region: "eu-west",
      labelsJson: "{}",
      deviceClass: null,
      profileJson: JSON.stringify(sampleProfile),
      fingerprint: "f",
      emulated: 1,
      agentVersion: "0.1.0",
      standing: "active",
      standingReason: null,
      session: 0,
      boot: null,
      online: 0,
      lastSeenAtMs: null,
      desiredRevision: 0,
      reportedJson: null,
      createdAtMs: 0,
    })
    .execute();
}

export interface RawDevice {
  readonly connection: MqttConnection;
  readonly received: { name: MessageName; payload: unknown }[];
  send<Name extends MessageName>(
    name: Name,
    payload: PayloadOf<Name>,
    change?: { sequence?: number },
  ): Promise<void>;
  /** The first message of this name that fits and was not taken before; it counts as taken then. */
  take<Name extends MessageName>(
    name: Name,
    fits?: (payload: PayloadOf<Name>) => boolean,
  ): Promise<PayloadOf<Name>>;
  birth(session?: number): Promise<void>;
  /** Resolves when the connection is gone. */
  readonly closed: Promise<void>;
}

export async function connectRawDevice(
  { mqttUrl, ctx }: Pick<RunningController, "mqttUrl" | "ctx">,
  id: string,
  { boot = "a".repeat(16), password = rawPassword } = {},
): Promise<RawDevice> {
  const clock = systemClock();
  const envelope = (sequence: number) => ({
    tenant,
    device: id,
    boot,
    sequence,
    monotonicMs: clock.monotonicMs(),
    wallMs: null,
    clockTrusted: false,
  });
  const connection = await connectSystemMqtt({
    url: mqttUrl,
    caPem: ctx.caPem,
    clientId: id,
    username: `device:${id}`,
    password,
    cleanSession: true,
    keepaliveSeconds: 30,
    connectTimeoutMs: 10_000,
  });
  const closed = new Promise<void>((resolve) => connection.onClose(() => resolve()));
  const received: RawDevice["received"] = [];
  connection.onMessage((topic, bytes) => {
    const { name } = messageOfTopic(topic);
    received.push({
      name,
      payload: decodeMessage(messages[name] as MessageDefinition, bytes).payload,
    });
  });
  await connection.subscribe(deviceFilter(tenant, id), 1);
  let next = 1_000;
  const send: RawDevice["send"] = async (name, payload, { sequence = next++ } = {}) => {
    const message = messages[name] as MessageDefinition;
    const bytes = encodeMessage(message, envelope(sequence), payload);
    await connection.publish(topicOf(message, tenant, id), bytes, message.qos);
  };
  return {
    connection,
    received,
    closed,
    send,
    async take(name, fits = () => true) {
      return until(`${name} for ${id}`, async () => {
        const at = received.findIndex(
          (one) => one.name === name && fits(one.payload as PayloadOf<typeof name>),
        );
        return at < 0 ? undefined : (received.splice(at, 1)[0]?.payload as PayloadOf<typeof name>);
      });
    },
    async birth(session = 1) {
      await send("birth", {
        session,
        agentVersion: "0.1.0",
        profileFingerprint: "f",
        emulated: true,
        outboxPending: 0,
      });
    },
  };
}
