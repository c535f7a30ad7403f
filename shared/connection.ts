/**
 * Keeps one MQTT connection alive: connects, hands it to its owner, and when it is gone tries again
 * with full jitter. Owned by the agent, the controller and the connection tests alike.
 *
 * Invariants: at most one connection at a time; `onConnected` runs once per connection and a failure
 * in it drops that connection; after `stop` nothing is tried again; pauses grow until one holds.
 */
import { type BackoffOptions, backoffMs, connectBackoff } from "./backoff.ts";
import type { Clock } from "./ports/clock.ts";
import type { Log } from "./ports/log.ts";
import type { ConnectMqtt, MqttConnection, MqttConnectOptions } from "./ports/mqtt.ts";
import type { Random } from "./ports/random.ts";

export interface SessionLoopOptions {
  readonly connect: ConnectMqtt;
  /** Asked before each attempt, so that a new session number or will can be used. */
  readonly options: () => MqttConnectOptions | Promise<MqttConnectOptions>;
  readonly onConnected: (connection: MqttConnection) => Promise<void>;
  readonly onLost?: (reason: string) => void;
  /** Called with each failed attempt; answering false ends the loop. */
  readonly onFailed?: (error: unknown) => boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly backoff?: BackoffOptions;
}

export interface SessionLoop {
  start(): void;
  /** Clean disconnect; resolves when the loop has ended. */
  stop(): Promise<void>;
  current(): MqttConnection | undefined;
}

/**
 * A connection that was lost sooner did not hold: the broker refuses what we do, or another holder of
 * our id takes it away. Without this the two would throw each other out for ever, twice a second.
 */
const heldMs = 2_000;

export function createSessionLoop(options: SessionLoopOptions): SessionLoop {
  const stopping = new AbortController();
  let current: MqttConnection | undefined;
  let running: Promise<void> = Promise.resolve();

  /** One connection from start to end; true when it held. */
  const live = async (): Promise<boolean> => {
    const connection = await options.connect(await options.options());
    const upMs = options.clock.monotonicMs();
    const lost = new Promise<string>((resolve) => connection.onClose(resolve));
    if (stopping.signal.aborted) {
      await connection.end();
      return true;
    }
    current = connection;
    try {
      // A connection that closes meanwhile may leave what its owner waits for unanswered.
      await Promise.race([options.onConnected(connection), lost]);
    } catch (error) {
      options.log.warn("the new connection could not be used", { error: String(error) });
      connection.abort();
    }
    const reason = await lost;
    current = undefined;
    options.onLost?.(reason);
    return options.clock.monotonicMs() - upMs >= heldMs;
  };

  const loop = async (): Promise<void> => {
    let failures = 0;
    while (!stopping.signal.aborted) {
      try {
        failures = (await live()) ? 0 : failures + 1;
      } catch (error) {
        options.log.debug("no connection", { error: String(error) });
        if (options.onFailed?.(error) === false) return;
        failures++;
      }
      if (stopping.signal.aborted) return;
      const delayMs = backoffMs(options.backoff ?? connectBackoff, failures, options.random);
      await options.clock.sleep(delayMs, stopping.signal);
    }
  };

  return {
    start() {
      running = loop();
    },
    async stop() {
      stopping.abort();
      await current?.end().catch(() => current?.abort());
      await running;
    },
    current: () => current,
  };
}
