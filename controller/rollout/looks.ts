/**
 * When a rollout is looked at after an answer: at once while it is small; a large one, whose every look
 * reads thousands of rows, at most once in a while, with what came meanwhile.
 *
 * Invariant: after the last answer a look always follows.
 */
import type { Clock } from "../../shared/ports/clock.ts";
import type { Log } from "../../shared/ports/log.ts";

export interface Looks {
  /** Looks now, or soon: `devices` is how many the rollout has offered something. */
  after(rollout: string, devices: number, look: () => Promise<void>): Promise<void>;
  /** Whether time alone makes a look due now; called every few seconds, and yes means that it is taken. */
  isTime(rollout: string, devices: number): boolean;
  stop(): void;
}

/** Rollouts up to this size are looked at with each answer: a look at 200 attempts takes about 1 ms. */
const devicesAtOnceMax = 200;
/** Pause between two looks per device, and the longest one. */
const pauseMsPerDevice = 0.5;
const pauseMsMax = 10_000;

/** Pause between two looks that time alone brings: everything that a large rollout has is read. */
const timedMsPerDevice = 6;
const timedMsMax = 60_000;

export function pauseMs(devices: number): number {
  return devices <= devicesAtOnceMax ? 0 : Math.min(pauseMsMax, devices * pauseMsPerDevice);
}

export function createLooks({ clock, log }: { clock: Clock; log: Log }): Looks {
  const lastMs = new Map<string, number>();
  const timedMs = new Map<string, number>();
  const waiting = new Map<string, () => void>();
  const now = async (rollout: string, look: () => Promise<void>): Promise<void> => {
    lastMs.set(rollout, clock.monotonicMs());
    await look();
  };
  return {
    async after(rollout, devices, look) {
      if (waiting.has(rollout)) return;
      const restMs = (lastMs.get(rollout) ?? -pauseMsMax) + pauseMs(devices) - clock.monotonicMs();
      if (pauseMs(devices) === 0 || restMs <= 0) return now(rollout, look);
      const cancel = clock.after(restMs, () => {
        waiting.delete(rollout);
        now(rollout, look).catch((error: unknown) =>
          log.error("a rollout could not advance", { rollout, error: String(error) }),
        );
      });
      waiting.set(rollout, cancel);
    },
    isTime(rollout, devices) {
      const nowMs = clock.monotonicMs();
      const atMs = timedMs.get(rollout);
      const isSmall = devices <= devicesAtOnceMax;
      const restMs = isSmall ? 0 : Math.min(timedMsMax, devices * timedMsPerDevice);
      if (atMs !== undefined && nowMs - atMs < restMs) return false;
      timedMs.set(rollout, nowMs);
      return true;
    },
    stop() {
      for (const cancel of waiting.values()) cancel();
      waiting.clear();
    },
  };
}
