/**
 * Retry delays with full jitter (AWS Architecture Blog, "Exponential Backoff and Jitter", 2015): the
 * n-th delay is uniform in [0, min(cap, base · 2^n)), so a restarted broker is not hit by all at once.
 */
import type { Random } from "./ports/random.ts";

export interface BackoffOptions {
  readonly baseMs: number;
  readonly capMs: number;
}

/** Connections: first retry within half a second, later ones within 30 s. */
export const connectBackoff: BackoffOptions = { baseMs: 500, capMs: 30_000 };

/** Delay before retry number `attempt`, counted from 0, in ms. */
export function backoffMs(options: BackoffOptions, attempt: number, random: Random): number {
  const ceiling = Math.min(options.capMs, options.baseMs * 2 ** Math.min(attempt, 30));
  return random.fraction() * ceiling;
}
