/** Counts what passes over MQTT connections, and how long the broker takes to ack. */
import type { ConnectMqtt } from "../../../shared/ports/mqtt.ts";
import { percentile } from "../percentile.ts";

export interface Traffic {
  readonly sent: number;
  readonly received: number;
  readonly connections: number;
  /** Of messages with QoS 1, from the call to the broker's ack; null without one. */
  readonly ackP50Ms: number | null;
  readonly ackP99Ms: number | null;
}

export interface Meter {
  /** The same connections, counted. */
  count(connect: ConnectMqtt): ConnectMqtt;
  /** Forgets what it has counted. */
  reset(): void;
  read(): Traffic;
}

export function createMeter(nowMs: () => number): Meter {
  let [sent, received, connections] = [0, 0, 0];
  let acksMs: number[] = [];
  return {
    count: (connect) => async (options) => {
      const connection = await connect(options);
      connections++;
      return {
        ...connection,
        async publish(topic, payload, qos) {
          const startedMs = nowMs();
          sent++;
          await connection.publish(topic, payload, qos);
          if (qos === 1) acksMs.push(nowMs() - startedMs);
        },
        onMessage: (handler) =>
          connection.onMessage((topic, payload) => {
            received++;
            handler(topic, payload);
          }),
      };
    },
    reset() {
      [sent, received, connections] = [0, 0, 0];
      acksMs = [];
    },
    read() {
      const [ackP50Ms, ackP99Ms] = [percentile(acksMs, 0.5), percentile(acksMs, 0.99)];
      return { sent, received, connections, ackP50Ms, ackP99Ms };
    },
  };
}
