/**
 * A rollback as a campaign: a new rollout with a new release counter that brings each device what it ran
 * before, and that ends when every one of them serves it again.
 */
import { stageSchema } from "../../shared/api/stages.ts";
import { FleetError } from "../../shared/errors.ts";
import type { ControllerContext } from "../context.ts";
import { publishDesired } from "../fleet/desired.ts";
import { candidatesOf } from "./candidates.ts";
import { addRollout, advanceRollout, applyEvent } from "./service.ts";
import { liveStatuses } from "./transitions.ts";
import { type RolloutView, rolloutRow, showRollout } from "./views.ts";

/** Going back is urgent: everybody at once, and whoever fails for the world's reasons tries again. */
const stages = [stageSchema.parse({ name: "return", select: { by: "all" }, retryBudget: 100_000 })];

/**
 * Ends the rollout and starts the one that takes it back.
 * Errors: `not-found`; `conflict` when no device runs what it committed and ran anything before.
 */
export async function rollBackRollout(
  ctx: ControllerContext,
  id: string,
  { reason, by }: { reason: string; by: string },
): Promise<RolloutView> {
  const { campaign, touched } = await ctx.db.transaction().execute(async (trx) => {
    const source = await rolloutRow(trx, id);
    if (source.kind === "rollback") {
      throw new FleetError(
        "conflict",
        `${id} is a rollback itself: start a rollout of the version`,
      );
    }
    const withdrawn = await applyEvent(ctx, trx, source, "roll-back", reason);
    const row = await addRollout(ctx, trx, {
      kind: "rollback",
      model: source.model,
      version: source.version,
      stages,
      by,
      restores: id,
    });
    if ((await candidatesOf(ctx, trx, row)).length === 0) {
      throw new FleetError("conflict", `no device committed ${id} last and ran something before`);
    }
    const offered = await applyEvent(ctx, trx, row, "approved", reason);
    return { campaign: row.id, touched: [...withdrawn, ...offered] };
  });
  await publishDesired(ctx, [...new Set(touched)]);
  await advanceRollout(ctx, campaign);
  return showRollout(ctx, campaign);
}

/** Rollbacks under way that something new may concern: a late commit, or another report. */
export async function openCampaigns(
  ctx: ControllerContext,
  models: readonly string[],
): Promise<string[]> {
  if (models.length === 0) return [];
  const rows = await ctx.db
    .selectFrom("rollouts")
    .select("id")
    .where("kind", "=", "rollback")
    .where("status", "in", [...liveStatuses])
    .where("model", "in", [...models])
    .execute();
  return rows.map(({ id }) => id);
}
