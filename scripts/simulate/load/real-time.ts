/** The time of simulated machines, by the clock of this one: for agents that meet a real broker. */
import { type VirtualTime, wallMsOf } from "../world/time.ts";

const lookEveryMs = 100;

/** Nothing waits for its timers when all else is over. Its origin is that of virtual time, so that a machine's wall clock shows the true time. */
export function realTime(): VirtualTime {
  const nowMs = () => performance.timeOrigin + performance.now() - wallMsOf(0);
  return {
    nowMs,
    after(delayMs, run) {
      const timer = setTimeout(run, Math.max(0, delayMs)).unref();
      return () => clearTimeout(timer);
    },
    async run(limitMs, done = () => false) {
      const endMs = nowMs() + limitMs;
      for (;;) {
        if (await done()) return true;
        if (nowMs() >= endMs) return false;
        await new Promise((resolve) => setTimeout(resolve, lookEveryMs));
      }
    },
  };
}
