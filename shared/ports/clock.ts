/**
 * Time as an argument. Simulations and crash tests hand in a clock of their own, so no other file of
 * the product may read the time or start a timer.
 */

export interface Clock {
  /** Milliseconds since the Unix epoch by the system clock, which may be wrong or jump. */
  wallMs(): number;
  /** Milliseconds that never run backwards; the origin is arbitrary. */
  monotonicMs(): number;
  /** Calls `run` once after `delayMs`; the returned function cancels it. */
  after(delayMs: number, run: () => void): () => void;
  /** Resolves after `delayMs`, or at once when `signal` aborts. Never rejects. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}
