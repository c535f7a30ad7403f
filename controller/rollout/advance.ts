/**
 * Looks at rollouts and takes every step that their attempts and the time allow. What decides is pure:
 * the stage's counts, the ledger's evidence, and the machine.
 */

import type { RolloutStatus } from "../../shared/api/routes/rollouts.ts";
import { assert } from "../../shared/assert.ts";
import type { ControllerContext } from "../context.ts";
import { publishDesired, renewManifests } from "../fleet/desired.ts";
import { waitedMs } from "../fleet/patience.ts";
import type { Database } from "../storage/database.ts";
import { prepared } from "../storage/prepared.ts";
import type { RolloutTable } from "../storage/schema.ts";
import { takeBack } from "./campaign.ts";
import { countStages } from "./counting.ts";
import { applyEvent } from "./events.ts";
import { judgeStage } from "./judging.ts";
import { endingStage, type RolloutState } from "./machine.ts";
import { isPendingMember, joinLate, mayConcern, memberCount } from "./members.ts";
import { offerPending } from "./offers.ts";
import { proofOf, proofVerdict } from "./proof.ts";
import { settleSoaks } from "./soaks.ts";
import { type StageVerdict, stageVerdict } from "./stage-verdict.ts";
import { excludeStratum } from "./stratum-rollback.ts";
import { liveStatuses, offeringStatuses, type RolloutEvent } from "./transitions.ts";
import { findRollout, rolloutRow, stateOf } from "./views.ts";

/** Looks at the current stage and takes every step that its attempts allow. */
export async function advanceRollout(ctx: ControllerContext, id: string): Promise<void> {
  for (;;) {
    const touched = await looked(ctx, id);
    if (touched === undefined) return;
    await publishDesired(ctx, touched.devices);
    if (touched.campaign !== undefined) await advanceRollout(ctx, touched.campaign);
  }
}

interface Touched {
  readonly devices: readonly string[];
  /** A rollback that began because the rollout does harm. */
  readonly campaign?: string | undefined;
}

async function looked(ctx: ControllerContext, id: string): Promise<Touched | undefined> {
  try {
    return await ctx.db.transaction().execute((trx) => advanceOnce(ctx, trx, id));
  } catch (error) {
    ctx.evidence.forget(id);
    throw error;
  }
}

/** One step, or undefined when there is none to take now. */
async function advanceOnce(
  ctx: ControllerContext,
  trx: Database,
  id: string,
): Promise<Touched | undefined> {
  const row = await findRollout(trx, id);
  if (row === undefined) return undefined;
  const status = row.status as RolloutStatus;
  if (status === "awaiting-approval") return undefined;
  if (!liveStatuses.includes(status) && status !== "completed") return undefined;
  const state = stateOf(row);
  const verdict = await verdictOf(ctx, trx, row, state);
  if (verdict.kind === "stratum-failed") {
    return excludeStratum(ctx, trx, { row, state }, verdict);
  }
  const event = eventOf(status, state, verdict);
  if (event !== undefined && verdict.kind !== "waiting") {
    const devices = await applyEvent(ctx, trx, row, event, verdict.why);
    if (event !== "stage-failed" || state.onHarm !== "roll-back") return { devices };
    const back = await takeBack(ctx, trx, id, { reason: verdict.why, by: "fleetfit" });
    return back === undefined
      ? { devices }
      : { devices: [...new Set([...devices, ...back.devices])], campaign: back.campaign };
  }
  if (!offeringStatuses.includes(status)) return undefined;
  const offered = await offerPending(ctx, trx, row, state);
  return offered.length === 0 ? undefined : { devices: offered };
}

async function verdictOf(
  ctx: ControllerContext,
  trx: Database,
  row: RolloutTable,
  state: RolloutState,
): Promise<StageVerdict> {
  const stage = state.stages[state.stage];
  assert(stage !== undefined, "a rollout has its current stage");
  const counts = await countStages(ctx, trx, row.id, state);
  const current = counts.at(-1);
  assert(current !== undefined, "the current stage is counted");
  const ageMs = waitedMs(ctx, state.stageStartedAtMs, stage.deadlineMs);
  if (row.kind === "rollback") {
    return proofVerdict(await proofOf(trx, row), current, ageMs >= stage.deadlineMs);
  }
  const { lastCommitAtMs } = current;
  const counted = stageVerdict({
    counts,
    isLast: state.stage >= state.stages.length - 1,
    ageMs,
    settledMs: lastCommitAtMs === null ? null : ctx.clock.wallMs() - lastCommitAtMs,
    deadlineMs: stage.deadlineMs,
    soakMs: stage.soakMs,
  });
  return judgeStage(ctx, trx, {
    row,
    state,
    counts,
    counted,
    isOverdue: ageMs >= stage.deadlineMs,
  });
}

/** The event that a verdict means in a status; undefined when it changes nothing. */
function eventOf(
  status: RolloutStatus,
  state: RolloutState,
  { kind }: StageVerdict,
): RolloutEvent | undefined {
  if (kind === "waiting") return undefined;
  if (kind === "failed") return "stage-failed";
  if (status === "completed") return undefined;
  if (kind === "overtaken") return kind;
  if (status === "paused") return undefined;
  const isManual = state.stages[state.stage]?.gate === "manual";
  if (status === "awaiting-promotion") {
    return kind === "passed" && !isManual ? endingStage(state, "passed") : undefined;
  }
  if (kind === "inconclusive") return "stage-inconclusive";
  return isManual ? "stage-ready" : endingStage(state, "passed");
}

/**
 * At start and every few seconds, large rollouts less often: deadlines and the time of manifests pass
 * without any message.
 */
export async function advanceAllRollouts(ctx: ControllerContext): Promise<void> {
  await publishDesired(ctx, await renewManifests(ctx));
  for (const row of await standingRollouts(ctx.db)) {
    if (!ctx.looks.isTime(row.id, await memberCount(ctx.db, row.id))) continue;
    await keepGoing(ctx, row.id, async () => {
      await ctx.db.transaction().execute(async (trx) => {
        await joinLate(ctx, trx, row, stateOf(row));
        await settleSoaks(ctx, trx, row, stateOf(row));
      });
      await advanceRollout(ctx, row.id);
    });
  }
}

/**
 * A device is there: it has come online, enrolled, or changed its class. What waits for it is offered,
 * newest rollout first, by a look at the rollout.
 */
export async function deviceAppeared(ctx: ControllerContext, device: string): Promise<void> {
  for (const standing of await standingRollouts(ctx.db)) {
    const { id, status } = standing;
    if (!offeringStatuses.includes(status as RolloutStatus)) continue;
    if (!(await mayConcern(ctx.db, standing, device))) continue;
    await keepGoing(ctx, id, async () => {
      const waits = await ctx.db.transaction().execute(async (trx) => {
        const row = await rolloutRow(trx, id);
        if (!offeringStatuses.includes(row.status as RolloutStatus)) return false;
        await joinLate(ctx, trx, row, stateOf(row), [device]);
        return isPendingMember(trx, id, device);
      });
      if (waits) await ctx.looks.after(id, ctx.evidence.offered(id), () => advanceRollout(ctx, id));
    });
  }
}

/** One rollout that cannot go on (a lost file, say) must not keep the others back. */
async function keepGoing(
  ctx: ControllerContext,
  id: string,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    ctx.log.error("a rollout could not advance", { id, error: String(error) });
  }
}

/**
 * Rollouts that may still offer something, newest first: those under way, and of each model what new
 * devices should run, the newest completed release, with the rollbacks after it, which a late commit of
 * what they took back may still need. Where that release was taken back in some strata alone, the one
 * before it is what new devices there get.
 */
async function standingRollouts(db: Database): Promise<RolloutTable[]> {
  const { rows } = await liveRollouts(db, {});
  const settled = new Set<string>();
  return rows.filter((row) => {
    const { model, kind, status } = row;
    if (status !== "completed") return true;
    if (kind === "aa" || settled.has(model)) return false;
    if (kind === "release" && stateOf(row).excluded.length === 0) settled.add(model);
    return true;
  });
}

const liveRollouts = prepared((db) =>
  db
    .selectFrom("rollouts")
    .selectAll()
    .where("status", "in", [...liveStatuses, "completed"])
    .where("status", "!=", "awaiting-approval")
    .orderBy("releaseCounter", "desc"),
);
