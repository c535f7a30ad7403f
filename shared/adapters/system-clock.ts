/** The real clock; the only file of the product that reads the time or starts timers. */
import { setTimeout as delay } from "node:timers/promises";
import type { Clock } from "../ports/clock.ts";

/** Timers beyond this overflow Node's 32-bit limit and would fire at once. */
const timerMaxMs = 2 ** 31 - 1;

export function systemClock(): Clock {
  return {
    wallMs: () => Date.now(),
    monotonicMs: () => performance.now(),
    after(delayMs, run) {
      const timer = setTimeout(run, Math.min(Math.max(0, delayMs), timerMaxMs));
      return () => clearTimeout(timer);
    },
    async sleep(delayMs, signal) {
      const options = signal === undefined ? {} : { signal };
      await delay(Math.min(Math.max(0, delayMs), timerMaxMs), undefined, options).catch(() => {});
    },
  };
}
