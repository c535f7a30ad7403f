/**
 * When the device says what it runs: at once, and then at most once per pause, with what came meanwhile.
 * An update passes through a dozen states, most of them for some milliseconds; a fleet of thousands would
 * have the controller store them all. What was said over this connection is not said again.
 *
 * Invariants: after the last change a report always follows; after `stop` nothing is read or said, whatever
 * still changes while the device goes down.
 */
import type { Clock } from "../shared/ports/clock.ts";
import type { Log } from "../shared/ports/log.ts";
import { worldError } from "./world-error.ts";

/** Least time between two reports, in ms, and between one and the next that only says how far an update is. */
const pauseMs = 300;
const progressPauseMs = 2_000;

export interface Reports {
  /** Something changed. */
  note(): void;
  /** An update has come further. */
  progressed(): void;
  /** The controller may know nothing: the next report says all, changed or not. */
  again(): void;
  stop(): void;
}

export function createReports<State>(
  { clock, log }: { clock: Clock; log: Log },
  { read, say }: { read: () => State; say: (state: State) => void },
): Reports {
  let next: { readonly atMs: number; readonly cancel: () => void } | undefined;
  let lastMs = -progressPauseMs;
  let isStopped = false;
  /** The last report as text. */
  let told: string | undefined;
  const now = (): void => {
    next?.cancel();
    next = undefined;
    const state = read();
    const text = JSON.stringify(state);
    if (text === told) return;
    told = text;
    lastMs = clock.monotonicMs();
    say(state);
  };
  /** Nobody is there to take what a timer throws. */
  const later = (): void => {
    try {
      now();
    } catch (error) {
      const known = worldError(error);
      if (known === undefined) throw error;
      log.warn("a report is left out", { code: known.code, error: known.message });
    }
  };
  const after = (restMs: number): void => {
    if (isStopped) return;
    const atMs = lastMs + restMs;
    const waitMs = atMs - clock.monotonicMs();
    if (waitMs <= 0) {
      now();
      return;
    }
    if (next !== undefined && next.atMs <= atMs) return;
    next?.cancel();
    next = { atMs, cancel: clock.after(waitMs, later) };
  };
  return {
    note: () => after(pauseMs),
    progressed: () => after(progressPauseMs),
    again() {
      told = undefined;
      after(pauseMs);
    },
    stop() {
      isStopped = true;
      next?.cancel();
    },
  };
}
