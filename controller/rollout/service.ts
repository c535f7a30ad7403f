/**
 * Rollouts as an operator starts and steers them. The machine decides; here its state, the attempts and
 * the wanted states are stored in one transaction, and then sent.
 */
import type { z } from "zod";
import { type StageOrder, stageSchema } from "../../shared/api/stages.ts";
import { assert } from "../../shared/assert.ts";
import { FleetError } from "../../shared/errors.ts";
import type { ControllerContext } from "../context.ts";
import { publishDesired, renewManifests } from "../fleet/desired.ts";
import { waitedMs } from "../fleet/patience.ts";
import type { Database } from "../storage/database.ts";
import { recordEvent } from "../storage/events/repository.ts";
import type { RolloutTable } from "../storage/schema.ts";
import { candidatesOf } from "./candidates.ts";
import { drawReleaseCounter } from "./counter.ts";
import { countStages } from "./counting.ts";
import { defaultStages, endingStage, type RolloutState, step } from "./machine.ts";
import { joinLate, selectStage } from "./members.ts";
import { offerPending, withdrawOpen } from "./offers.ts";
import { proofOf, proofVerdict } from "./proof.ts";
import { type StageVerdict, stageVerdict } from "./stage-verdict.ts";
import {
  liveStatuses,
  offeringStatuses,
  type RolloutEvent,
  type RolloutStatus,
} from "./transitions.ts";
import { type RolloutView, rolloutRow, showRollout, stateOf } from "./views.ts";

const idBytes = 5;
const seedBytes = 8;

export interface RolloutOrder {
  readonly model: string;
  readonly version: string;
  readonly stages?: readonly StageOrder[] | undefined;
  /** The bundle that devices run already, as a test of the gates themselves. */
  readonly aa?: boolean | undefined;
  /** Of the random selection; drawn when left out. */
  readonly seed?: string | undefined;
}

/**
 * Errors: `not-found` when no class has a variant; `conflict` when the first stage selects nobody.
 */
export async function startRollout(
  ctx: ControllerContext,
  order: RolloutOrder,
  by = "admin",
): Promise<RolloutView> {
  const stages = order.stages?.map((stage) => stageSchema.parse(stage)) ?? [...defaultStages];
  const { id, touched } = await ctx.db.transaction().execute(async (trx) => {
    await requireChoice(trx, order);
    const { model, version, seed } = order;
    const kind = order.aa === true ? "aa" : "release";
    const row = await addRollout(ctx, trx, { kind, model, version, stages, by, seed });
    const needed = stateOf(row).approvalsNeeded;
    if (needed === 0) {
      return { id: row.id, touched: await applyEvent(ctx, trx, row, "approved", "started") };
    }
    const all = await candidatesOf(ctx, trx, row);
    if (all.length === 0) throw nobody(stages[0]?.name);
    return { id: row.id, touched: [] };
  });
  await publishDesired(ctx, touched);
  await advanceRollout(ctx, id);
  return showRollout(ctx, id);
}

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

/** Stores a rollout that has not begun. Rollbacks need no approval: they are the remedy. */
export async function addRollout(
  ctx: ControllerContext,
  trx: Database,
  order: {
    kind: "release" | "aa" | "rollback";
    model: string;
    version: string;
    stages: readonly z.output<typeof stageSchema>[];
    by: string;
    seed?: string | undefined;
    restores?: string;
  },
): Promise<RolloutTable> {
  const { kind, model, version, by } = order;
  const nowMs = ctx.clock.wallMs();
  const hex = (count: number) => Buffer.from(ctx.random.bytes(count)).toString("hex");
  const state: RolloutState = {
    stages: [...order.stages],
    stage: 0,
    stageStartedAtMs: nowMs,
    seed: order.seed ?? hex(seedBytes),
    history: [],
    startedBy: by,
    approvals: [],
    approvalsNeeded: kind === "rollback" ? 0 : ctx.config.rolloutApprovals,
  };
  const row: RolloutTable = {
    id: `r-${hex(idBytes)}`,
    model,
    version,
    kind,
    restores: order.restores ?? null,
    releaseCounter: await drawReleaseCounter(trx, model),
    status: "awaiting-approval",
    reason: null,
    stateJson: JSON.stringify(state),
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
  };
  await trx.insertInto("rollouts").values(row).execute();
  await recordEvent(trx, {
    atMs: nowMs,
    kind: "rollout-started",
    subject: row.id,
    message: `${kind} of ${model} ${version}, counter ${row.releaseCounter}, by ${by}`,
    data: { kind, by, seed: state.seed, restores: row.restores },
  });
  return row;
}

function nobody(stage: string | undefined): FleetError {
  return new FleetError(
    "conflict",
    `stage "${stage}" selects no active device that this rollout can bring something to`,
  );
}

/** Applies one event inside the transaction; answers whom to tell. Errors: `conflict`. */
export async function applyEvent(
  ctx: ControllerContext,
  trx: Database,
  row: RolloutTable,
  event: RolloutEvent,
  reason: string,
): Promise<string[]> {
  const nowMs = ctx.clock.wallMs();
  const next = step(row.status as RolloutStatus, stateOf(row), { event, why: reason, nowMs });
  await trx
    .updateTable("rollouts")
    .set({ status: next.status, reason, stateJson: JSON.stringify(next.state), updatedAtMs: nowMs })
    .where("id", "=", row.id)
    .execute();
  await recordEvent(trx, {
    atMs: nowMs,
    kind: `rollout-${next.status}`,
    subject: row.id,
    message: reason,
    data: { event, stage: next.state.stage },
  });
  const touched: string[] = [];
  for (const effect of next.effects) {
    if (effect === "withdraw-open") touched.push(...(await withdrawOpen(trx, row.id, reason)));
    else {
      if (effect !== "offer") {
        const selected = await selectStage(ctx, trx, row, next.state);
        // A first stage of nobody would pass, and the next one would be the first to try this version.
        if (effect === "first-stage" && selected === 0) throw nobody(next.state.stages[0]?.name);
      }
      touched.push(...(await offerPending(ctx, trx, row, next.state)));
    }
  }
  if (next.status === "completed") touched.push(...(await endOlder(ctx, trx, row)));
  return touched;
}

/** A completed rollout is what the model's devices should run: older ones under way have no aim left. */
async function endOlder(
  ctx: ControllerContext,
  trx: Database,
  row: RolloutTable,
): Promise<string[]> {
  if (row.kind !== "release") return [];
  const older = await trx
    .selectFrom("rollouts")
    .selectAll()
    .where("model", "=", row.model)
    .where("releaseCounter", "<", row.releaseCounter)
    .where("status", "in", ["running", "paused", "awaiting-promotion"])
    .execute();
  const touched: string[] = [];
  for (const each of older) {
    const why = `the newer rollout ${row.id} was completed`;
    touched.push(...(await applyEvent(ctx, trx, each, "overtaken", why)));
  }
  return touched;
}

/** Looks at the current stage and takes every step that its attempts allow. */
export async function advanceRollout(ctx: ControllerContext, id: string): Promise<void> {
  for (;;) {
    const touched = await ctx.db.transaction().execute((trx) => advanceOnce(ctx, trx, id));
    if (touched === undefined) return;
    await publishDesired(ctx, touched);
  }
}

/** One step, or undefined when there is none to take now. */
async function advanceOnce(
  ctx: ControllerContext,
  trx: Database,
  id: string,
): Promise<string[] | undefined> {
  const row = await trx.selectFrom("rollouts").selectAll().where("id", "=", id).executeTakeFirst();
  if (row === undefined) return undefined;
  const status = row.status as RolloutStatus;
  if (status === "awaiting-approval") return undefined;
  if (!liveStatuses.includes(status) && status !== "completed") return undefined;
  const state = stateOf(row);
  const verdict = await verdictOf(ctx, trx, row, state);
  const event = eventOf(status, state, verdict);
  if (event !== undefined && verdict.kind !== "waiting") {
    return applyEvent(ctx, trx, row, event, verdict.why);
  }
  if (!offeringStatuses.includes(status)) return undefined;
  const offered = await offerPending(ctx, trx, row, state);
  return offered.length === 0 ? undefined : offered;
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
  return stageVerdict({
    counts,
    isLast: state.stage >= state.stages.length - 1,
    ageMs,
    settledMs: lastCommitAtMs === null ? null : ctx.clock.wallMs() - lastCommitAtMs,
    deadlineMs: stage.deadlineMs,
    soakMs: stage.soakMs,
    alphaDevice: ctx.config.alphaDevice,
    alphaRollout: ctx.config.alphaRollout,
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

/** At start and every minute: deadlines and the time of manifests pass without any message. */
export async function advanceAllRollouts(ctx: ControllerContext): Promise<void> {
  await publishDesired(ctx, await renewManifests(ctx));
  for (const row of await standingRollouts(ctx.db)) {
    await keepGoing(ctx, row.id, async () => {
      await ctx.db.transaction().execute((trx) => joinLate(ctx, trx, row, stateOf(row)));
      await advanceRollout(ctx, row.id);
    });
  }
}

/**
 * A device is there: it has come online, enrolled, or changed its class. What waits for it is offered,
 * newest rollout first. Answers whom to tell.
 */
export async function deviceAppeared(ctx: ControllerContext, device: string): Promise<string[]> {
  const touched: string[] = [];
  for (const { id, status } of await standingRollouts(ctx.db)) {
    if (!offeringStatuses.includes(status as RolloutStatus)) continue;
    const offered = await keepGoing(ctx, id, () =>
      ctx.db.transaction().execute(async (trx) => {
        const row = await rolloutRow(trx, id);
        if (!offeringStatuses.includes(row.status as RolloutStatus)) return [];
        await joinLate(ctx, trx, row, stateOf(row), [device]);
        return offerPending(ctx, trx, row, stateOf(row));
      }),
    );
    touched.push(...(offered ?? []));
  }
  return touched;
}

/** One rollout that cannot go on (a lost file, say) must not keep the others back. */
async function keepGoing<T>(
  ctx: ControllerContext,
  id: string,
  work: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    ctx.log.error("a rollout could not advance", { id, error: String(error) });
    return undefined;
  }
}

/**
 * Rollouts that may still offer something, newest first: those under way, and of each model what new
 * devices should run, the completed releases.
 */
async function standingRollouts(db: Database): Promise<RolloutTable[]> {
  const rows = await db
    .selectFrom("rollouts")
    .selectAll()
    .where("status", "in", [...liveStatuses, "completed"])
    .orderBy("releaseCounter", "desc")
    .execute();
  const completed = new Set<string>();
  return rows.filter((row) => {
    if (row.status === "awaiting-approval") return false;
    if (row.status !== "completed") return true;
    const isFirst = row.kind === "release" && !completed.has(row.model);
    if (isFirst) completed.add(row.model);
    return isFirst;
  });
}
