/** Whether a device said that it waits for its maintenance window or the end of a hold; pure. */
import type { PayloadOf } from "../../shared/protocol/registry.ts";

export function isWaiting(reported: PayloadOf<"reported"> | undefined, attempt: string): boolean {
  return Object.values(reported?.models ?? {}).some(
    ({ update }) => update?.attempt === attempt && update.state === "waiting",
  );
}
