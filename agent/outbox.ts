/**
 * Reports that must arrive: rows in SQLite, sent at QoS 1, sent again until the controller acks them
 * by (boot, sequence), deleted only then. The broker's own ack counts for nothing: brokers lose
 * messages that they acked (measured with mosquitto's default limits).
 */
import type { MessageName, PayloadOf } from "../shared/protocol/registry.ts";
import type { AgentContext } from "./context.ts";

/** Unacked reports on their way at once: the receive maximum that small brokers grant. */
const inFlightMax = 16;
/** A report without ack is sent again after this and as much jitter, in ms. */
const ackTimeoutMs = 10_000;
/** Decisions before facts before telemetry. */
const priorities: Partial<Record<MessageName, number>> = {
  "attempt-outcome": 0,
  "telemetry-window": 2,
};
const priorityDefault = 1;

export interface Outbox {
  /** Stores a report; inside a store transaction it becomes durable with that transaction. */
  add(name: MessageName, encoded: { bytes: Uint8Array; sequence: number }): void;
  flush(): void;
  acked(payload: PayloadOf<"ack">): void;
  /** After a lost connection everything is sent again. */
  forgetInFlight(): void;
  start(): void;
  stop(): void;
}

export function createOutbox(options: {
  context: AgentContext;
  publish: (name: MessageName, bytes: Uint8Array) => Promise<void>;
  isConnected: () => boolean;
}): Outbox {
  const { store, clock, random, boot } = options.context;
  const inFlight = new Set<string>();
  /** False when everything that is stored is on its way: there is nothing to look for. */
  let isNew = true;
  let cancel = () => {};
  let stopped = false;

  const flush = (): void => {
    if (!options.isConnected() || stopped || !isNew) return;
    const rows = store.outboxRows(inFlightMax);
    for (const row of rows) {
      const key = `${row.boot}/${row.sequence}`;
      if (inFlight.has(key)) continue;
      if (inFlight.size >= inFlightMax) return;
      inFlight.add(key);
      options.publish(row.message as MessageName, row.bytes).catch(() => land(key));
    }
    isNew = rows.length === inFlightMax;
  };
  /** It is no longer on its way, whatever became of it. */
  const land = (key: string): void => {
    inFlight.delete(key);
    isNew = true;
  };
  const forgetInFlight = (): void => {
    inFlight.clear();
    isNew = true;
  };
  const resendLater = (): void => {
    cancel = clock.after(ackTimeoutMs * (1 + random.fraction()), () => {
      // Where nothing is on its way, nothing is missing.
      if (inFlight.size > 0) forgetInFlight();
      flush();
      resendLater();
    });
  };
  return {
    add(name, { bytes, sequence }) {
      isNew = true;
      const priority = priorities[name] ?? priorityDefault;
      store.addOutboxRow({ boot, sequence, message: name, priority, bytes });
    },
    flush,
    acked({ messages }) {
      store.transaction(() => {
        for (const row of messages) store.removeOutboxRow(row.boot, row.sequence);
      });
      for (const row of messages) inFlight.delete(`${row.boot}/${row.sequence}`);
      flush();
    },
    forgetInFlight,
    start: resendLater,
    stop() {
      stopped = true;
      cancel();
    },
  };
}
