/**
 * One MQTT 3.1.1 connection as an argument. It never reconnects by itself: `shared/connection.ts`
 * owns retries and jitter, so that they can be simulated.
 */

export type Qos = 0 | 1;

export interface MqttConnectOptions {
  /** `mqtts://host:port` or, on loopback in tests only, `mqtt://host:port`. */
  readonly url: string;
  readonly clientId: string;
  readonly username: string;
  readonly password: string;
  /** PEM of the only certificate authority that is trusted. */
  readonly caPem?: string;
  readonly cleanSession: boolean;
  readonly keepaliveSeconds: number;
  readonly connectTimeoutMs: number;
  readonly will?: { topic: string; payload: Uint8Array; qos: Qos };
}

export interface MqttConnection {
  /** Resolves when the broker acked (QoS 1) or the bytes were handed to the socket (QoS 0). */
  publish(topic: string, payload: Uint8Array, qos: Qos): Promise<void>;
  /** Rejects with `mqtt-refused` when the broker refuses the filter. */
  subscribe(filter: string, qos: Qos): Promise<void>;
  /** One handler; called with each message in order of arrival. */
  onMessage(handler: (topic: string, payload: Uint8Array) => void): void;
  /** Called once when the connection is gone for whatever reason. */
  onClose(handler: (reason: string) => void): void;
  /** Clean DISCONNECT (the will is not sent), then closes. */
  end(): Promise<void>;
  /** Drops the socket without DISCONNECT, as a cut cable would. */
  abort(): void;
}

/** One attempt; rejects with `mqtt-unreachable` or `mqtt-refused` (bad credential). */
export type ConnectMqtt = (options: MqttConnectOptions) => Promise<MqttConnection>;
