/**
 * A rollback as a campaign: a new rollout with a new release counter that brings each device what it ran
 * before, and that ends when every one of them serves it again.
 */
import { type Stage, stageSchema } from "../../shared/api/stages.ts";
import { FleetError } from "../../shared/errors.ts";
import type { ControllerContext } from "../context.ts";
import type { Database } from "../storage/database.ts";
import { candidatesOf } from "./candidates.ts";
import { addRollout, applyEvent } from "./events.ts";
import { mayTake } from "./selection.ts";
import { liveStatuses } from "./transitions.ts";
import { rolloutRow } from "./views.ts";

/** Going back is urgent: everybody at once, and whoever fails for the world's reasons tries again. */
const returnOf = (select: Stage["select"]): Stage =>
  stageSchema.parse({ name: "return", select, retryBudget: 100_000 });

/**
 * Starts the rollout that takes another one back, in the caller's transaction, from all devices or those
 * that `select` names; undefined when none of them runs what it committed and ran anything before.
 * Errors: `conflict` for a rollback of a rollback.
 */
export async function takeBack(
  ctx: ControllerContext,
  trx: Database,
  id: string,
  order: { reason: string; by: string; select?: Stage["select"] },
): Promise<{ campaign: string; devices: string[] } | undefined> {
  const source = await rolloutRow(trx, id);
  if (source.kind === "rollback") {
    throw new FleetError("conflict", `${id} is a rollback itself: start a rollout of the version`);
  }
  const { model, version } = source;
  const { reason, by, select = { by: "all" } } = order;
  const stages = [returnOf(select)];
  const probe = { id: "", kind: "rollback", model, version, restores: id, releaseCounter: 0 };
  const all = await candidatesOf(ctx, trx, probe);
  if (!all.some((device) => mayTake(select, device))) return undefined;
  const what = { kind: "rollback", model, version, stages, by, restores: id } as const;
  const row = await addRollout(ctx, trx, what);
  return { campaign: row.id, devices: await applyEvent(ctx, trx, row, "approved", reason) };
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
