/**
 * What a device runs. Its release counters may be above ours when our state is older than the
 * device's: ours then jump past them, so that nothing is downgraded or tried again.
 */

import { publishDesired } from "../../fleet/desired.ts";
import { learnReleaseCounter } from "../../rollout/counter.ts";
import type { DirectHandler } from "./handler.ts";

export const onReported: DirectHandler<"reported"> = async (ctx, { device }, reported) => {
  const behind = await ctx.db.transaction().execute(async (trx) => {
    const row = await trx
      .selectFrom("devices")
      .select("desiredRevision")
      .where("id", "=", device)
      .executeTakeFirst();
    if (row === undefined) return false;
    for (const [model, state] of Object.entries(reported.models)) {
      await learnReleaseCounter(trx, model, state.releaseCounterHighest);
    }
    const isBehind = reported.desiredRevision > row.desiredRevision;
    await trx
      .updateTable("devices")
      .set({
        reportedJson: JSON.stringify(reported),
        lastSeenAtMs: ctx.clock.wallMs(),
        ...(isBehind ? { desiredRevision: reported.desiredRevision + 1 } : {}),
      })
      .where("id", "=", device)
      .execute();
    return isBehind;
  });
  if (behind) await publishDesired(ctx, [device]);
};
