/**
 * Whether a verified update may be installed now, purely: no hold, an open window, enough power.
 *
 * Invariant: nothing waits for ever on a clock that nobody can read. Where the local time is not known
 * (a clock below what the device has seen and no word of the controller, a zone without rules) the window counts as closed, and as
 * open after `patienceMs` of waiting by the clock that cannot jump.
 */
import type { InstallPolicy } from "../../shared/artifact/install-policy.ts";
import type { Power } from "../probe/power.ts";
import { isOpen, localClock, nextOpeningMs } from "./window.ts";

/** A week: every weekly window has opened once. */
export const patienceMs = 7 * 86_400_000;

/** Why an update waits. Codes are sent: never renamed. */
export interface Waiting {
  readonly code: "hold" | "window" | "battery";
  readonly why: string;
  /** When it is over by what is known now, in ms since the epoch; null when nobody knows. */
  readonly untilMs: number | null;
}

export interface Circumstances {
  /** Reason of the hold that applies. */
  readonly held: string | undefined;
  /** What agent/time.ts believes. */
  readonly now: { readonly ms: number; readonly known: boolean };
  /** How long this update has waited, by the monotonic clock, over restarts. */
  readonly waitedMs: number;
  readonly power: Power;
}

/** Undefined when the update may be installed. */
export function mustWait(policy: InstallPolicy, given: Circumstances): Waiting | undefined {
  return heldBack(given.held) ?? closed(policy, given) ?? drained(policy, given.power);
}

/** The only reason that also stops what was installed and tried, right before the switch. */
export function heldBack(reason: string | undefined): Waiting | undefined {
  if (reason === undefined) return undefined;
  return { code: "hold", why: `installs are held: ${reason}`, untilMs: null };
}

function closed(
  { windows, timeZone }: InstallPolicy,
  { now, waitedMs }: Circumstances,
): Waiting | undefined {
  if (windows.length === 0) return undefined;
  const clock = localClock(timeZone);
  const believed = new Date(now.ms).toISOString();
  if (!now.known || clock === undefined) {
    if (waitedMs >= patienceMs) return undefined;
    const unknown = now.known
      ? `the time zone ${timeZone} is not known here (${believed})`
      : `the clock is behind and not trusted; ${believed} or later is believed`;
    const days = patienceMs / 86_400_000;
    const why = `${unknown}: the install window counts as open after ${days} days of waiting`;
    return { code: "window", why, untilMs: null };
  }
  if (isOpen(windows, clock(now.ms))) return undefined;
  const untilMs = nextOpeningMs(windows, clock, now.ms) ?? null;
  const opens = untilMs === null ? "" : ` and opens at ${new Date(untilMs).toISOString()}`;
  return { code: "window", why: `the install window (${timeZone}) is closed${opens}`, untilMs };
}

function drained({ batteryFractionMin }: InstallPolicy, power: Power): Waiting | undefined {
  if (power.source !== "battery" || batteryFractionMin === 0) return undefined;
  const { fraction } = power;
  if (fraction !== null && fraction >= batteryFractionMin) return undefined;
  const percent = (value: number) => `${Math.round(value * 100)} %`;
  const charge = fraction === null ? "an unknown charge" : percent(fraction);
  const why = `on battery with ${charge}; installs need ${percent(batteryFractionMin)} or mains`;
  return { code: "battery", why, untilMs: null };
}
