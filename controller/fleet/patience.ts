/**
 * How long devices have been waited for. A controller that was down heard nothing, so a deadline that
 * passed meanwhile is not held against devices before they had the time to come back and report.
 */
import type { ControllerContext } from "../context.ts";

/** Twenty times the longest delay between two connects (shared/backoff.ts), for outboxes to empty. */
const returnMs = 600_000;

/** Milliseconds since `sinceMs`; below `deadlineMs` until devices could have come back. */
export function waitedMs(
  ctx: Pick<ControllerContext, "clock" | "startedAtMs">,
  sinceMs: number,
  deadlineMs: number,
): number {
  const nowMs = ctx.clock.wallMs();
  const waited = nowMs - sinceMs;
  return nowMs - ctx.startedAtMs < returnMs ? Math.min(waited, deadlineMs - 1) : waited;
}
