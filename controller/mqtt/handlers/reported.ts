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
import { prepared } from "../../storage/prepared.ts";
import type { DirectHandler } from "./handler.ts";

/**
 * Numbers above this are nobody's: one device must not use up what is exact for a whole fleet. The
 * other half of the exact integers (2^53) is left for what is drawn after it.
 */
const numberMax = 2 ** 52;

export const onReported: DirectHandler<"reported"> = async (ctx, { device }, reported) => {
  const said = { device, reportedJson: JSON.stringify(reported), atMs: ctx.clock.wallMs() };
  const known = (await reportOf(ctx.db, said)).rows[0];
  if (known === undefined) return;
  // What it said before, as after each birth, was learnt then.
  if (known.reportedJson === said.reportedJson) {
    await storeReport(ctx.db, said);
    return;
  }
  const { behind, changed, learnt } = await ctx.db.transaction().execute(async (trx) => {
    const row = (await reportOf(trx, said)).rows[0];
    if (row === undefined) return { behind: false, changed: [], learnt: [] };
    const before = modelsOf(row.reportedJson);
    for (const [model, { releaseCounterHighest }] of Object.entries(reported.models)) {
      // What the stored report says was learnt together with it.
      const isNews = before[model]?.releaseCounterHighest !== releaseCounterHighest;
      if (isNews && releaseCounterHighest <= numberMax)
        await learnReleaseCounter(trx, model, releaseCounterHighest);
    }
    await storeReport(trx, said);
    const { desiredRevision } = reported;
    const isBehind = desiredRevision > row.desiredRevision && desiredRevision <= numberMax;
    if (isBehind) await raiseAbove(trx, { device, desiredRevision: desiredRevision + 1 });
    const learnt = await learnHolds(ctx, trx, reported.holds);
    return { behind: isBehind, changed: changedModels(before, reported), learnt };
  });
  for (const scope of learnt) await publishHolds(ctx, scope);
  if (behind) await publishDesired(ctx, [device]);
  // A rollback ends with the last device that serves the old bundle again.
  for (const id of await openCampaigns(ctx, changed)) await advanceRollout(ctx, id);
};

const reportOf = prepared((db, { device }: { device: string }) =>
  db.selectFrom("devices").select(["desiredRevision", "reportedJson"]).where("id", "=", device),
);

const storeReport = prepared((db, said: { device: string; reportedJson: string; atMs: number }) =>
  db
    .updateTable("devices")
    .set({ reportedJson: said.reportedJson, lastSeenAtMs: said.atMs })
    .where("id", "=", said.device),
);

const raiseAbove = prepared((db, next: { device: string; desiredRevision: number }) =>
  db
    .updateTable("devices")
    .set({ desiredRevision: next.desiredRevision })
    .where("id", "=", next.device),
);

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
