/**
 * What a device runs. Its release counters may be above ours when our state is older than the
 * device's: ours then jump past them, so that nothing is downgraded or tried again.
 */

import { publishDesired } from "../../fleet/desired.ts";
import { learnReleaseCounter } from "../../rollout/counter.ts";
import type { DirectHandler } from "./handler.ts";

/**
 * Numbers above this are nobody's: one device must not use up what is exact for a whole fleet. The
 * other half of the exact integers (2^53) is left for what is drawn after it.
 */
const numberMax = 2 ** 52;

export const onReported: DirectHandler<"reported"> = async (ctx, { device }, reported) => {
  const behind = await ctx.db.transaction().execute(async (trx) => {
    const row = await trx
      .selectFrom("devices")
      .select("desiredRevision")
      .where("id", "=", device)
      .executeTakeFirst();
    if (row === undefined) return false;
    for (const [model, { releaseCounterHighest }] of Object.entries(reported.models)) {
      if (releaseCounterHighest <= numberMax)
        await learnReleaseCounter(trx, model, releaseCounterHighest);
    }
    const isBehind =
      reported.desiredRevision > row.desiredRevision && reported.desiredRevision <= numberMax;
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
