/** Whether a device said that it waits for a hold to end, its install window or power; pure. */
import { messages, type PayloadOf } from "../../shared/protocol/registry.ts";

/** How long after its window opened a device may take to say that it went on. */
const graceMs = 3_600_000;

/**
 * A wait with a known end counts until shortly after it, also while the device is away. One without is
 * believed only as long as the device is there: a battery that ran empty says nothing any more.
 */
export function isWaiting(
  reported: PayloadOf<"reported"> | undefined,
  attempt: string,
  { nowMs, online }: { nowMs: number; online: boolean },
): boolean {
  const updates = Object.values(reported?.models ?? {}).map(({ update }) => update);
  const waiting = updates.find((update) => update?.attempt === attempt)?.waiting ?? null;
  if (waiting === null) return false;
  return waiting.untilMs === null ? online : nowMs <= waiting.untilMs + graceMs;
}

/** What a device reported last, as it is stored. */
export function reportedOf(json: string | null): PayloadOf<"reported"> | undefined {
  return json === null ? undefined : messages.reported.schema.parse(JSON.parse(json));
}
