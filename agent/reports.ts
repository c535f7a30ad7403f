/**
 * When the device says what it runs: at once, and then at most once per pause, with what came meanwhile.
 * An update passes through a dozen states, most of them for some milliseconds; a fleet of thousands would
 * have the controller store them all.
 *
 * Invariant: after the last change a report always follows.
 */
import type { Clock } from "../shared/ports/clock.ts";
import type { Log } from "../shared/ports/log.ts";
import { worldError } from "./world-error.ts";

const pauseMs = 300;

export interface Reports {
  /** Something changed. */
  note(): void;
  stop(): void;
}

export function createReports(
  { clock, log }: { clock: Clock; log: Log },
  say: () => void,
): Reports {
  let cancel: (() => void) | undefined;
  let isNew = false;
  const now = (): void => {
    isNew = false;
    cancel = clock.after(pauseMs, () => {
      cancel = undefined;
      if (isNew) later();
    });
    say();
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
  return {
    note() {
      isNew = true;
      if (cancel === undefined) now();
    },
    stop() {
      cancel?.();
    },
  };
}
