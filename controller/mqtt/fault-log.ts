/**
 * Writes faults of senders into the record without letting them fill it: one event per kind, subject
 * and code in a minute; the next one says how many were left out.
 */
import type { Clock } from "../../shared/ports/clock.ts";
import type { NewEvent } from "../storage/events/repository.ts";

/** Silence between two events of the same fault, in ms. */
const windowMs = 60_000;
/** Faults that are remembered; the oldest is forgotten first. */
const rememberedMax = 10_000;

export interface Fault {
  readonly kind: "message-dropped" | "topic-foreign";
  /** Device id, claim id or `controller`: known to be the sender's own. */
  readonly subject: string;
  readonly code: string;
  readonly message: string;
  readonly topic: string;
}

export type NoteFault = (fault: Fault) => Promise<void>;

export function createFaultLog(options: {
  clock: Clock;
  record: (event: NewEvent) => Promise<void>;
}): NoteFault {
  const recent = new Map<string, { sinceMs: number; leftOut: number }>();
  return async ({ kind, subject, code, message, topic }) => {
    const key = `${kind} ${subject} ${code}`;
    const nowMs = options.clock.monotonicMs();
    const known = recent.get(key);
    if (known !== undefined && nowMs - known.sinceMs < windowMs) {
      known.leftOut++;
      return;
    }
    recent.delete(key);
    recent.set(key, { sinceMs: nowMs, leftOut: 0 });
    if (recent.size > rememberedMax) {
      const [oldest] = recent.keys();
      recent.delete(oldest ?? key);
    }
    await options.record({
      atMs: options.clock.wallMs(),
      kind,
      subject,
      message: message.slice(0, 500),
      data: { code, topic: topic.slice(0, 200), leftOutBefore: known?.leftOut ?? 0 },
    });
  };
}
