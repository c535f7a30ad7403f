/**
 * What time a device believes: its clock, but never earlier than what it has already seen. A clock
 * below that floor is not trusted, yet everything keeps working: by the controller's time, as long as this
 * run of the program has heard it, and from the floor otherwise.
 */
import type { Clock } from "../shared/ports/clock.ts";
import type { Envelope } from "../shared/protocol/message.ts";
import type { AgentStore } from "./state/store.ts";
import { buildTimeMs } from "./version.ts";

const floorKey = "timeFloorMs";

/** What a peer with a trusted clock said last, and when that was by the clock that cannot jump. */
export interface HeardTime {
  last: { readonly wallMs: number; readonly monotonicMs: number } | undefined;
  /** The stored floor, once it was read. */
  floorMs?: number;
}

interface TimeParts {
  readonly store: AgentStore;
  readonly clock: Clock;
  readonly heardTime: HeardTime;
}

export function timeFloorMs(store: AgentStore): number {
  return Math.max(buildTimeMs, Number(store.setting(floorKey) ?? "0"));
}

/** How far the floor may lag behind what a peer says: each rise is a write to flash. */
const peerStepMs = 60_000;

function floorOf({ store, heardTime }: Omit<TimeParts, "clock">): number {
  heardTime.floorMs ??= timeFloorMs(store);
  return heardTime.floorMs;
}

/** The controller's own time, as its messages carry it; it is as trusted as what it signs. */
export function hearTime(parts: TimeParts, envelope: Envelope): void {
  const { clock, heardTime } = parts;
  const { wallMs, clockTrusted } = envelope;
  if (wallMs === null || !clockTrusted) return;
  heardTime.last = { wallMs, monotonicMs: clock.monotonicMs() };
  if (wallMs >= floorOf(parts) + peerStepMs) raiseTimeFloor(parts, wallMs);
}

/** Signed metadata and trusted peers raise the floor; it never falls. */
export function raiseTimeFloor(parts: Omit<TimeParts, "clock">, seenMs: number): void {
  if (seenMs <= floorOf(parts)) return;
  parts.store.setSetting(floorKey, String(seenMs));
  parts.heardTime.floorMs = seenMs;
}

export interface BelievedTime {
  readonly ms: number;
  /** The device's own clock is right as far as anybody knows. */
  readonly trusted: boolean;
  /** The time is known: by its own clock, or as the controller told it. */
  readonly known: boolean;
}

export function believedNow(parts: TimeParts): BelievedTime {
  const { clock } = parts;
  const { last } = parts.heardTime;
  const floor = floorOf(parts);
  const wall = clock.wallMs();
  if (wall >= floor) return { ms: wall, trusted: true, known: true };
  if (last === undefined) return { ms: floor, trusted: false, known: false };
  const toldMs = last.wallMs + clock.monotonicMs() - last.monotonicMs;
  return { ms: Math.max(floor, toldMs), trusted: false, known: true };
}
