/** MQTT 3.1.1 through mqtt.js, one attempt per call; retries belong to the caller. */
import { setTimeout as delay } from "node:timers/promises";
import { connect, type IClientOptions, type MqttClient } from "mqtt";
import { FleetError } from "../errors.ts";
import type { MqttConnection, MqttConnectOptions } from "../ports/mqtt.ts";

/** How long an orderly end may take before the socket is dropped, in ms. */
const endGraceMs = 2_000;

/** CONNACK return codes 4 and 5 of MQTT 3.1.1 §3.2.2.3: bad credential, not authorized. */
const refusedCodes = new Set([4, 5]);

export function connectSystemMqtt(options: MqttConnectOptions): Promise<MqttConnection> {
  const client = connect(options.url, clientOptions(options));
  return new Promise((resolve, reject) => {
    const fail = (cause: Error | undefined) => {
      client.removeAllListeners();
      client.on("error", () => {});
      client.end(true);
      reject(connectError(options.url, cause));
    };
    client.once("error", fail);
    client.once("close", () => fail(undefined));
    client.once("connect", () => {
      client.removeAllListeners("error").removeAllListeners("close");
      resolve(connection(client));
    });
  });
}

function clientOptions(options: MqttConnectOptions): IClientOptions {
  return {
    protocolVersion: 4,
    clientId: options.clientId,
    username: options.username,
    password: options.password,
    clean: options.cleanSession,
    keepalive: options.keepaliveSeconds,
    connectTimeout: options.connectTimeoutMs,
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    rejectUnauthorized: true,
    ...(options.caPem === undefined ? {} : { ca: options.caPem }),
    ...(options.will === undefined
      ? {}
      : {
          will: {
            topic: options.will.topic,
            payload: Buffer.from(options.will.payload),
            qos: options.will.qos,
            retain: false,
          },
        }),
  };
}

function connectError(url: string, cause: Error | undefined): FleetError {
  const code = cause !== undefined && "code" in cause ? Number(cause.code) : Number.NaN;
  if (refusedCodes.has(code)) {
    return new FleetError("mqtt-refused", `${url} refused the credential`, { cause });
  }
  const reason = cause?.message || "the connection closed";
  return new FleetError("mqtt-unreachable", `cannot reach ${url}: ${reason}`, { cause });
}

function connection(client: MqttClient): MqttConnection {
  let closeReason: string | undefined;
  const closeHandlers: ((reason: string) => void)[] = [];
  client.on("error", (error) => {
    closeReason ??= error.message;
  });
  client.on("close", () => {
    client.end(true);
    const reason = closeReason ?? "the connection closed";
    for (const handler of closeHandlers.splice(0)) handler(reason);
  });
  return {
    async publish(topic, payload, qos) {
      await client.publishAsync(topic, Buffer.from(payload), { qos, retain: false });
    },
    async subscribe(filter, qos) {
      // mqtt.js rejects on SUBACK 0x80, a refusal (MQTT 3.1.1 §3.9.3), and when the connection is lost.
      await client.subscribeAsync(filter, { qos }).catch((cause: unknown) => {
        const message = `no subscription to ${filter}`;
        throw new FleetError(client.connected ? "mqtt-refused" : "mqtt-unreachable", message, {
          cause,
        });
      });
    },
    onMessage(handler) {
      client.on("message", (topic, payload) => handler(topic, new Uint8Array(payload)));
    },
    onClose(handler) {
      closeHandlers.push(handler);
    },
    async end() {
      // mqtt.js waits for what is in flight, for ever when the connection closes before it is acked.
      const closed = new Promise<void>((resolve) => client.once("close", () => resolve()));
      const late = delay(endGraceMs, undefined, { ref: false });
      await Promise.race([client.endAsync(), closed, late]);
      client.end(true);
    },
    abort() {
      client.stream.destroy();
    },
  };
}
