/** Whether a device will still answer what it was asked to measure. */
import type { ControllerContext } from "../context.ts";
import { waitedMs } from "../fleet/patience.ts";

/** How long a device may take; then others go on without it. */
const measurementDeadlineMs = 3_600_000;

/** Why no answer is waited for any more; undefined while one is. */
export function lateness(
  ctx: ControllerContext,
  asked: { readonly device: string; readonly standing: string; readonly createdAtMs: number },
): string | undefined {
  const { device, standing, createdAtMs } = asked;
  if (standing !== "active") return `${device} is ${standing}`;
  if (waitedMs(ctx, createdAtMs, measurementDeadlineMs) < measurementDeadlineMs) return undefined;
  return `${device} did not answer within ${measurementDeadlineMs / 60_000} minutes`;
}
