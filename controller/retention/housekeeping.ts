/** Runs what forgets old rows, first soon after the start and then every hour, one pass at a time. */
import type { ControllerContext } from "../context.ts";
import { forgetOld } from "./retention.ts";

const firstAfterMs = 60_000;
const everyMs = 3_600_000;

/** Answers what ends it: resolves when no pass touches the database any more. */
export function keepHouse(ctx: ControllerContext): () => Promise<void> {
  const over = new AbortController();
  let pass = Promise.resolve();
  let cancel = () => {};
  const schedule = (delayMs: number): void => {
    cancel = ctx.clock.after(delayMs, () => {
      pass = forgetOld(ctx, over.signal)
        .catch((error: unknown) =>
          ctx.log.error("old rows could not be forgotten", { error: String(error) }),
        )
        .then(() => {
          if (!over.signal.aborted) schedule(everyMs);
        });
    });
  };
  schedule(firstAfterMs);
  return async () => {
    over.abort();
    cancel();
    await pass;
  };
}
