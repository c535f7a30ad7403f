/**
 * What a device runs. Its release counters may be above ours when our state is older than the
 * device's: ours then jump past them, so that nothing is downgraded or tried again. Holds that we signed
 * and have forgotten are taken back from it.
 */

import { messages, type PayloadOf } from "../../../shared/protocol/registry.ts";
import { publishDesired } from "../../fleet/desired.ts";
import { learnHolds, publishHolds } from "../../fleet/holds.ts";
import { advanceRollout } from "../../rollout/advance.ts";
import { openCampaigns } from "../../rollout/campaign.ts";
import { learnReleaseCounter } from "../../rollout/counter.ts";
import type { DirectHandler } from "./handler.ts";

/**
 * Numbers above this are nobody's: one device must not use up what is exact for a whole fleet. The
 * other half of the exact integers (2^53) is left for what is drawn after it.
 */
const numberMax = 2 ** 52;

export const onReported: DirectHandler<"reported"> = async (ctx, { device }, reported) => {
  const { behind, changed, learnt } = await ctx.db.transaction().execute(async (trx) => {
    const row = await trx
      .selectFrom("devices")
      .select(["desiredRevision", "reportedJson"])
      .where("id", "=", device)
      .executeTakeFirst();
    if (row === undefined) return { behind: false, changed: [], learnt: [] };
    const before = modelsOf(row.reportedJson);
    for (const [model, { releaseCounterHighest }] of Object.entries(reported.models)) {
      // What the stored report says was learnt together with it.
      const isNews = before[model]?.releaseCounterHighest !== releaseCounterHighest;
      if (isNews && releaseCounterHighest <= numberMax)
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
    const learnt = await learnHolds(ctx, trx, reported.holds);
    return { behind: isBehind, changed: changedModels(before, reported), learnt };
  });
  for (const scope of learnt) await publishHolds(ctx, scope);
  if (behind) await publishDesired(ctx, [device]);
  // A rollback ends with the last device that serves the old bundle again.
  for (const id of await openCampaigns(ctx, changed)) await advanceRollout(ctx, id);
};

type Models = PayloadOf<"reported">["models"];

function modelsOf(reportedJson: string | null): Models {
  return reportedJson === null
    ? {}
    : messages.reported.schema.parse(JSON.parse(reportedJson)).models;
}

/** Models of which the device serves or committed something else than in its report before. */
function changedModels(before: Models, reported: PayloadOf<"reported">): string[] {
  return Object.entries(reported.models)
    .filter(
      ([model, { servingSha256, committed }]) =>
        before[model]?.servingSha256 !== servingSha256 ||
        before[model]?.committed?.releaseCounter !== committed?.releaseCounter,
    )
    .map(([model]) => model);
}
