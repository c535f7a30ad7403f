/**
 * A rollback as a campaign: a new rollout with a new release counter that brings each device what it ran
 * before, and that ends when every one of them serves it again.
 */
import { stageSchema } from "../../shared/api/stages.ts";
import { FleetError } from "../../shared/errors.ts";
import type { ControllerContext } from "../context.ts";
import type { Database } from "../storage/database.ts";
import { candidatesOf } from "./candidates.ts";
import { addRollout, applyEvent } from "./events.ts";
import { liveStatuses } from "./transitions.ts";
import { rolloutRow } from "./views.ts";

/** Going back is urgent: everybody at once, and whoever fails for the world's reasons tries again. */
const stages = [stageSchema.parse({ name: "return", select: { by: "all" }, retryBudget: 100_000 })];

/**
 * Starts the rollout that takes another one back, in the caller's transaction; undefined when no device
 * runs what it committed and ran anything before. Errors: `conflict` for a rollback of a rollback.
 */
export async function takeBack(
  ctx: ControllerContext,
  trx: Database,
  id: string,
  { reason, by }: { reason: string; by: string },
): Promise<{ campaign: string; devices: string[] } | undefined> {
  const source = await rolloutRow(trx, id);
  if (source.kind === "rollback") {
    throw new FleetError("conflict", `${id} is a rollback itself: start a rollout of the version`);
  }
  const { model, version } = source;
  const order = { kind: "rollback", model, version, stages, by, restores: id } as const;
  const probe = { id: "", kind: "rollback", model, version, restores: id, releaseCounter: 0 };
  if ((await candidatesOf(ctx, trx, probe)).length === 0) return undefined;
  const row = await addRollout(ctx, trx, order);
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
