/**
 * When the mark of a stored report may be forgotten, purely. A device sends a report until it is acked and
 * then deletes it, so once its birth says that nothing is left to send, only copies that are still on
 * their way can come; and nothing is heard from a device that was retired.
 */

/** Longest time that a message may be under way through broker and queues, which keep nothing over a restart. */
export const transitMs = 3_600_000;

export interface Mark {
  readonly receivedAtMs: number;
  /** Of its device; null when nobody knows it. */
  readonly standing: string | null;
  /** When a birth last said that the outbox was empty. */
  readonly outboxEmptyAtMs: number | null;
}

export function mayForget(
  { receivedAtMs, standing, outboxEmptyAtMs }: Mark,
  nowMs: number,
): boolean {
  if (standing === null || standing === "retired") return true;
  // A time ahead of the clock was noted before the clock was set back.
  if (outboxEmptyAtMs === null || outboxEmptyAtMs > nowMs) return false;
  return receivedAtMs < outboxEmptyAtMs - transitMs;
}

/** Whether an empty outbox is worth a write: the last note is too old to let marks go, or wrong. */
export function isWorthNoting(outboxEmptyAtMs: number | null, nowMs: number): boolean {
  return outboxEmptyAtMs === null || Math.abs(nowMs - outboxEmptyAtMs) >= transitMs;
}
