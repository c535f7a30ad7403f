/**
 * Reads the circumstances of an update that is ready to be installed and asks whether it must wait.
 *
 * Invariant: how long it waited is counted by the monotonic clock and over restarts, so that a device
 * whose clock is never right does not wait for ever.
 */
import type { Manifest } from "../../shared/artifact/manifest.ts";
import type { AgentContext } from "../context.ts";
import { believedNow } from "../time.ts";
import type { Holds } from "./holds.ts";
import { mustWait, type Waiting } from "./permission.ts";

/** How much waiting a power cut may forget: each store is a write to flash. */
const storeEveryMs = 600_000;

export interface WaitingRoom {
  /** Undefined when the attempt may be installed now. */
  judge(attempt: string, install: Manifest["install"]): Promise<Waiting | undefined>;
}

export function createWaitingRoom(context: AgentContext, holds: Holds): WaitingRoom {
  const { store, clock } = context;
  /** When waiting began in this run of the program, and what was waited before it. */
  const guests = new Map<string, { sinceMs: number; beforeMs: number }>();

  return {
    async judge(attempt, install) {
      const storedMs = store.waitedMs(attempt);
      const guest = guests.get(attempt) ?? { sinceMs: clock.monotonicMs(), beforeMs: storedMs };
      guests.set(attempt, guest);
      const waitedMs = guest.beforeMs + clock.monotonicMs() - guest.sinceMs;
      if (waitedMs >= storedMs + storeEveryMs) store.saveWaitedMs(attempt, waitedMs);
      const now = believedNow(context);
      const power = await context.readPower();
      const waiting = mustWait(install, { held: holds.reason(), now, waitedMs, power });
      if (waiting === undefined) guests.delete(attempt);
      return waiting;
    },
  };
}
