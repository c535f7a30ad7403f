/** Waits for something that real programs bring about. */
import { waitFor } from "../../scripts/fleet/programs.ts";

export function until<T>(
  what: string,
  probe: () => Promise<T | undefined>,
  timeoutMs = 40_000,
): Promise<T> {
  return waitFor(what, probe, { timeoutMs, everyMs: 50 });
}
