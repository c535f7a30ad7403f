/**
 * What time a device believes: its clock, but never earlier than what it has already seen. A clock
 * below that floor is not trusted, yet everything keeps working.
 */
import type { Clock } from "../shared/ports/clock.ts";
import type { Envelope } from "../shared/protocol/message.ts";
import type { AgentStore } from "./state/store.ts";
import { buildTimeMs } from "./version.ts";

const floorKey = "timeFloorMs";

export function timeFloorMs(store: AgentStore): number {
  return Math.max(buildTimeMs, Number(store.setting(floorKey) ?? "0"));
}

/** How far the floor may lag behind what a peer says: each rise is a write to flash. */
const peerStepMs = 60_000;

/** The controller's own time, as its messages carry it; it is as trusted as what it signs. */
export function hearTime(store: AgentStore, envelope: Envelope): void {
  const { wallMs, clockTrusted } = envelope;
  if (wallMs === null || !clockTrusted || wallMs < timeFloorMs(store) + peerStepMs) return;
  raiseTimeFloor(store, wallMs);
}

/** Signed metadata and trusted peers raise the floor; it never falls. */
export function raiseTimeFloor(store: AgentStore, seenMs: number): void {
  if (seenMs > timeFloorMs(store)) store.setSetting(floorKey, String(seenMs));
}

export function believedNow(store: AgentStore, clock: Clock): { ms: number; trusted: boolean } {
  const floor = timeFloorMs(store);
  const wall = clock.wallMs();
  return { ms: Math.max(wall, floor), trusted: wall >= floor };
}
