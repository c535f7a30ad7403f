/**
 * Rollouts as an operator starts and steers them. The machine decides; here its state, the attempts and
 * the wanted states are stored in one transaction, and then sent.
 */
import type { StageOrder } from "../../shared/api/stages.ts";
import { FleetError } from "../../shared/errors.ts";
import type { ControllerContext } from "../context.ts";
import { publishDesired } from "../fleet/desired.ts";
import type { Database } from "../storage/database.ts";
import { recordEvent } from "../storage/events/repository.ts";
import { advanceRollout } from "./advance.ts";
import { takeBack } from "./campaign.ts";
import { candidatesOf } from "./candidates.ts";
import { addRollout, applyEvent, nobody } from "./events.ts";
import { openLedger } from "./evidence/store.ts";
import { endingStage, type OnHarm } from "./machine.ts";
import { type Gate, type Judge, type OnStratumHarm, promiseOf } from "./promise.ts";
import { type RolloutView, rolloutRow, showRollout, stateOf } from "./views.ts";

export interface RolloutOrder {
  readonly model: string;
  readonly version: string;
  readonly stages?: readonly StageOrder[] | undefined;
  /** The bundle that devices run already, as a test of the gates themselves. */
  readonly aa?: boolean | undefined;
  /** Of the random selection; drawn when left out. */
  readonly seed?: string | undefined;
  /** What lets the whole fleet have it; by default proof where the fleet is large enough for one. */
  readonly judge?: Judge | undefined;
  /** Of the stage before the whole fleet, where no stages are given; by default a person where nothing is proven. */
  readonly gate?: Gate | undefined;
  /** Whether devices that committed it go back by themselves when the rollout does harm. */
  readonly onHarm?: OnHarm | undefined;
  /** Whether a region and class that alone proves harm is taken back alone. */
  readonly onStratumHarm?: OnStratumHarm | undefined;
}

/**
 * Errors: `not-found` when no class has a variant; `conflict` when the first stage selects nobody;
 * `input-invalid` for a gate beside stages.
 */
export async function startRollout(
  ctx: ControllerContext,
  order: RolloutOrder,
  by = "admin",
): Promise<RolloutView> {
  if (order.stages !== undefined && order.gate !== undefined) {
    throw new FleetError("input-invalid", "each stage that is given says its own gate");
  }
  const { id, touched } = await ctx.db.transaction().execute(async (trx) => {
    await requireChoice(trx, order);
    const { model, version, seed } = order;
    const kind = order.aa === true ? "aa" : "release";
    const all = await candidatesOf(ctx, trx, { ...unstored, kind, model, version });
    const replaces = kind === "release" && all.some(({ runsModel }) => runsModel);
    const { rules, power, stages } = await promiseOf(ctx, trx, {
      ...order,
      replaces,
      candidates: all,
    });
    if (all.length === 0) throw nobody(stages[0]?.name);
    const { onHarm = "roll-back" } = order;
    const said = `judged by ${rules.judge}: ${power.why}`;
    const what = { kind, model, version, stages, by, seed, onHarm, power: said } as const;
    const row = await addRollout(ctx, trx, what);
    const atMs = ctx.clock.wallMs();
    await openLedger(trx, row.id, rules, atMs);
    await recordEvent(trx, {
      atMs,
      kind: "rollout-power",
      subject: row.id,
      message: said,
      data: power,
    });
    if (stateOf(row).approvalsNeeded > 0) return { id: row.id, touched: [] };
    return { id: row.id, touched: await applyEvent(ctx, trx, row, "approved", "started") };
  });
  await publishDesired(ctx, touched);
  await advanceRollout(ctx, id);
  return showRollout(ctx, id);
}

/** What a rollout that is not stored yet is to the search for candidates. */
const unstored = { id: "", restores: null, releaseCounter: 0 } as const;

async function requireChoice(
  trx: Database,
  order: { model: string; version: string },
): Promise<void> {
  const choice = await trx
    .selectFrom("choices")
    .select("deviceClass")
    .where("model", "=", order.model)
    .where("version", "=", order.version)
    .where("bundleSha256", "is not", null)
    .executeTakeFirst();
  if (choice === undefined) {
    throw new FleetError(
      "not-found",
      `no class has a variant of ${order.model} ${order.version}: compress and measure it first`,
    );
  }
}

/** Pause, resume, abort or promote. Errors: `not-found`, `conflict`. */
export async function steerRollout(
  ctx: ControllerContext,
  id: string,
  order: "pause" | "resume" | "abort" | "promote",
  reason: string,
): Promise<RolloutView> {
  const touched = await ctx.db.transaction().execute(async (trx) => {
    const row = await rolloutRow(trx, id);
    const event = order === "promote" ? endingStage(stateOf(row), "promoted") : order;
    return applyEvent(ctx, trx, row, event, reason);
  });
  await publishDesired(ctx, touched);
  await advanceRollout(ctx, id);
  return showRollout(ctx, id);
}

/**
 * One more person says that a rollout may begin; the last one that is needed begins it.
 * Errors: `not-found`; `conflict` when it waits for nobody, or the name started or approved it already.
 */
export async function approveRollout(
  ctx: ControllerContext,
  id: string,
  by: string,
): Promise<RolloutView> {
  const touched = await ctx.db.transaction().execute(async (trx) => {
    const row = await rolloutRow(trx, id);
    const state = stateOf(row);
    if (row.status !== "awaiting-approval") {
      throw new FleetError("conflict", `a rollout that is ${row.status} needs no approval`);
    }
    if (state.startedBy === by || state.approvals.includes(by)) {
      throw new FleetError("conflict", `${by} started or approved ${id}: somebody else has to`);
    }
    const approvals = [...state.approvals, by];
    const stateJson = JSON.stringify({ ...state, approvals });
    await trx.updateTable("rollouts").set({ stateJson }).where("id", "=", id).execute();
    const message = `by ${by}, ${approvals.length} of ${state.approvalsNeeded}`;
    const atMs = ctx.clock.wallMs();
    await recordEvent(trx, { atMs, kind: "rollout-approved", subject: id, message });
    if (approvals.length < state.approvalsNeeded) return [];
    return applyEvent(ctx, trx, { ...row, stateJson }, "approved", `approved ${message}`);
  });
  await publishDesired(ctx, touched);
  await advanceRollout(ctx, id);
  return showRollout(ctx, id);
}

/**
 * Ends the rollout and starts the one that takes it back.
 * Errors: `not-found`; `conflict` when no device runs what it committed and ran anything before.
 */
export async function rollBackRollout(
  ctx: ControllerContext,
  id: string,
  order: { reason: string; by: string },
): Promise<RolloutView> {
  const back = await ctx.db.transaction().execute(async (trx) => {
    const source = await rolloutRow(trx, id);
    const withdrawn = await applyEvent(ctx, trx, source, "roll-back", order.reason);
    const begun = await takeBack(ctx, trx, id, order);
    if (begun === undefined) {
      throw new FleetError("conflict", `no device committed ${id} last and ran something before`);
    }
    return { ...begun, devices: [...new Set([...withdrawn, ...begun.devices])] };
  });
  await publishDesired(ctx, back.devices);
  await advanceRollout(ctx, back.campaign);
  return showRollout(ctx, back.campaign);
}
