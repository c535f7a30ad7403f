/**
 * Gathers the acks of one device for a moment, so that an outbox that comes at once is answered by few
 * messages. An ack that is lost here or on the way costs a repetition and nothing else.
 *
 * Invariant: `add` is called only after the effect of the message is committed.
 */
import type { Clock } from "../../shared/ports/clock.ts";
import type { PayloadOf } from "../../shared/protocol/registry.ts";

/** Longest wait of an ack, in ms. */
const waitMs = 20;
/** An agent keeps this many messages in flight, so a full batch waits no longer. */
const batchMax = 16;

type Ack = PayloadOf<"ack">["messages"][number];

export interface Acks {
  add(device: string, ack: Ack): void;
  /** Sends what waits and forgets its timers. */
  flush(): Promise<void>;
}

export function createAcks(
  clock: Clock,
  send: (device: string, messages: Ack[]) => Promise<void>,
): Acks {
  const batches = new Map<string, { messages: Ack[]; cancel: () => void }>();
  const flushOne = async (device: string): Promise<void> => {
    const batch = batches.get(device);
    if (batch === undefined) return;
    batches.delete(device);
    batch.cancel();
    await send(device, batch.messages);
  };
  return {
    add(device, ack) {
      const batch = batches.get(device);
      if (batch === undefined) {
        const cancel = clock.after(waitMs, () => void flushOne(device));
        batches.set(device, { messages: [ack], cancel });
        return;
      }
      batch.messages.push(ack);
      if (batch.messages.length >= batchMax) void flushOne(device);
    },
    async flush() {
      await Promise.all([...batches.keys()].map(flushOne));
    },
  };
}
