/**
 * Install windows on the local clock of a time zone, purely.
 *
 * A window is open while the local clock shows a time inside it. So the hour that a zone skips in
 * spring opens nothing, and the hour that it repeats in autumn opens twice.
 */
import {
  type InstallPolicy,
  type InstallWindow,
  lengthMinutes,
  minutesOf,
  weekdays,
} from "../../shared/artifact/install-policy.ts";

const minuteMs = 60_000;
const dayMinutes = 1_440;
const weekMinutes = 7 * dayMinutes;
/** Zones change their offset only on a quarter of an hour, so it holds for the minutes after one. */
const quarterMinutes = 15;
/** A window that one weekday's skipped hour closed opens a week later. */
const searchedQuarters = (2 * weekMinutes + dayMinutes) / quarterMinutes;

/** Reads a local clock: minutes since Monday 00:00, 0 to 10,079, at a time in ms since the epoch. */
export type LocalClock = (atMs: number) => number;

/** Undefined for a zone that this system does not know. */
export function localClock(timeZone: string): LocalClock | undefined {
  let format: Intl.DateTimeFormat;
  try {
    format = new Intl.DateTimeFormat("en-US", {
      timeZone,
      weekday: "short",
      hour: "2-digit",
      minute: "2-digit",
      hourCycle: "h23",
    });
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
  return (atMs) => {
    const parts = new Map(format.formatToParts(atMs).map(({ type, value }) => [type, value]));
    const day = (weekdays as readonly (string | undefined)[]).indexOf(
      parts.get("weekday")?.toLowerCase(),
    );
    return day * dayMinutes + Number(parts.get("hour")) * 60 + Number(parts.get("minute"));
  };
}

/** Whether one of the windows is open at this minute of the week. */
export function isOpen(windows: readonly InstallWindow[], minuteOfWeek: number): boolean {
  return windows.some((window) =>
    window.days.some((day) => {
      const opens = weekdays.indexOf(day) * dayMinutes + minutesOf(window.from);
      const since = (minuteOfWeek - opens + weekMinutes) % weekMinutes;
      return since < lengthMinutes(window);
    }),
  );
}

/**
 * The first full minute after `nowMs` at which a window is open, in ms since the epoch. Undefined when
 * none opens within two weeks.
 */
export function nextOpeningMs(
  windows: InstallPolicy["windows"],
  clock: LocalClock,
  nowMs: number,
): number | undefined {
  const quarterMs = quarterMinutes * minuteMs;
  const first = Math.floor(nowMs / quarterMs);
  for (let quarter = first; quarter <= first + searchedQuarters; quarter++) {
    const shown = clock(quarter * quarterMs);
    for (let minute = 0; minute < quarterMinutes; minute++) {
      const atMs = quarter * quarterMs + minute * minuteMs;
      if (atMs > nowMs && isOpen(windows, (shown + minute) % weekMinutes)) return atMs;
    }
  }
  return undefined;
}
