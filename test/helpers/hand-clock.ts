/** A clock that a test moves: timers fire in order when their time has come. */
import type { Clock } from "../../shared/ports/clock.ts";

export interface HandClock extends Clock {
  /** Moves time forward, firing what is due, and lets promises settle in between. */
  pass(ms: number): Promise<void>;
}

export function handClock(): HandClock {
  let nowMs = 0;
  let timers: { atMs: number; run: () => void }[] = [];
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve));
  const clock: HandClock = {
    wallMs: () => nowMs,
    monotonicMs: () => nowMs,
    after(delayMs, run) {
      const timer = { atMs: nowMs + delayMs, run };
      timers.push(timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    sleep: (delayMs) => new Promise((resolve) => clock.after(delayMs, resolve)),
    async pass(ms) {
      const endMs = nowMs + ms;
      await settle();
      for (;;) {
        const [next] = timers.filter(({ atMs }) => atMs <= endMs).sort((a, b) => a.atMs - b.atMs);
        if (next === undefined) break;
        timers = timers.filter((other) => other !== next);
        nowMs = Math.max(nowMs, next.atMs);
        next.run();
        await settle();
      }
      nowMs = endMs;
    },
  };
  return clock;
}
