/** A token bucket for bytes, shared by all transfers of a controller. */
import type { Clock } from "../../shared/ports/clock.ts";

/** Bytes that may leave at once after a quiet second: one second's worth. */
const burstSeconds = 1;

/** Resolves when `bytes` may leave; waiters are served in the order they came. */
export type Pace = (bytes: number) => Promise<void>;

export function createPacer(clock: Clock, bytesPerSecond: number): Pace {
  let freeAtMs = clock.monotonicMs();
  return async (bytes) => {
    const nowMs = clock.monotonicMs();
    freeAtMs = Math.max(freeAtMs, nowMs - burstSeconds * 1_000) + (bytes / bytesPerSecond) * 1_000;
    if (freeAtMs > nowMs) await clock.sleep(freeAtMs - nowMs);
  };
}
