/**
 * Rollouts as an operator starts and steers them. The machine decides; here its state, the attempts and
 * the wanted states are stored in one transaction, and then sent.
 */
import { z } from "zod";
import type { Stage } from "../../shared/api/stages.ts";
import { FleetError } from "../../shared/errors.ts";
import type { ControllerContext } from "../context.ts";
import { publishDesired, renewManifests } from "../fleet/desired.ts";
import { waitedMs } from "../fleet/patience.ts";
import type { Database } from "../storage/database.ts";
import { recordEvent } from "../storage/events/repository.ts";
import type { AttemptTable, RolloutTable } from "../storage/schema.ts";
import { drawReleaseCounter } from "./counter.ts";
import { defaultStages, type RolloutState, rolloutStateSchema, step } from "./machine.ts";
import { offerStage, withdrawOpen } from "./offers.ts";
import { type StageCount, stageVerdict } from "./stage-verdict.ts";
import type { RolloutEvent, RolloutStatus } from "./transitions.ts";

/** How long a stage waits for devices that do not answer. */
const stageDeadlineMs = 3_600_000;
const idBytes = 5;

export interface RolloutView {
  readonly id: string;
  readonly model: string;
  readonly version: string;
  readonly status: RolloutStatus;
  readonly reason: string | null;
  readonly stage: number;
  readonly stages: readonly Stage[];
  readonly releaseCounter: number;
  readonly createdAtMs: number;
  readonly attempts: readonly AttemptView[];
}

export type AttemptView = Omit<AttemptTable, "manifestJson" | "gatesJson"> & {
  readonly gates: unknown;
};

/**
 * Errors: `not-found` when no class has a variant; `conflict` when another rollout of the model runs or
 * the first stage selects nobody.
 */
export async function startRollout(
  ctx: ControllerContext,
  order: { model: string; version: string; stages?: readonly Stage[] | undefined },
): Promise<RolloutView> {
  const id = `r-${Buffer.from(ctx.random.bytes(idBytes)).toString("hex")}`;
  const nowMs = ctx.clock.wallMs();
  const touched = await ctx.db.transaction().execute(async (trx) => {
    await requireStartable(trx, order);
    const state: RolloutState = {
      stages: [...(order.stages ?? defaultStages)],
      stage: 0,
      stageStartedAtMs: nowMs,
      releaseCounter: await drawReleaseCounter(trx, order.model),
    };
    const row: RolloutTable = {
      id,
      model: order.model,
      version: order.version,
      status: "running",
      reason: null,
      stateJson: JSON.stringify(state),
      createdAtMs: nowMs,
      updatedAtMs: nowMs,
    };
    await trx.insertInto("rollouts").values(row).execute();
    const message = `${order.model} ${order.version}, counter ${state.releaseCounter}`;
    await recordEvent(trx, { atMs: nowMs, kind: "rollout-started", subject: id, message });
    const offered = await offerStage(ctx, trx, row, state);
    // A first stage of nobody would pass, and the next one would be the first to try this version.
    if (offered.length === 0) {
      throw new FleetError(
        "conflict",
        `stage "${state.stages[0]?.name}" selects no active device whose class chose a variant`,
      );
    }
    return offered;
  });
  await publishDesired(ctx, touched);
  await advanceRollout(ctx, id);
  return showRollout(ctx, id);
}

async function requireStartable(
  trx: Database,
  order: { model: string; version: string },
): Promise<void> {
  const running = await trx
    .selectFrom("rollouts")
    .select("id")
    .where("model", "=", order.model)
    .where("status", "in", ["running", "paused"])
    .executeTakeFirst();
  if (running !== undefined) {
    throw new FleetError(
      "conflict",
      `rollout ${running.id} of ${order.model} is under way: abort it first`,
    );
  }
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

/** Looks at the current stage and takes every step that its attempts allow. */
export async function advanceRollout(ctx: ControllerContext, id: string): Promise<void> {
  for (;;) {
    const touched = await ctx.db.transaction().execute(async (trx) => {
      const row = await trx
        .selectFrom("rollouts")
        .selectAll()
        .where("id", "=", id)
        .executeTakeFirst();
      if (row === undefined || (row.status !== "running" && row.status !== "paused"))
        return undefined;
      const state = rolloutStateSchema.parse(JSON.parse(row.stateJson));
      const count = await countStage(trx, id, state.stage);
      const verdict = stageVerdict(count, waitedMs(ctx, state.stageStartedAtMs, stageDeadlineMs), {
        alphaDevice: ctx.config.alphaDevice,
        alphaRollout: ctx.config.alphaRollout,
        deadlineMs: stageDeadlineMs,
      });
      if (verdict.kind === "waiting" || (verdict.kind === "passed" && row.status === "paused"))
        return undefined;
      const isLast = state.stage >= state.stages.length - 1;
      const event =
        verdict.kind === "failed" ? "stage-failed" : isLast ? "last-stage-passed" : "stage-passed";
      return applyEvent(ctx, trx, row, event, verdict.why);
    });
    if (touched === undefined) return;
    await publishDesired(ctx, touched);
  }
}

async function countStage(trx: Database, rollout: string, stage: number): Promise<StageCount> {
  const rows = await trx
    .selectFrom("attempts")
    .leftJoin("devices", "devices.id", "attempts.device")
    .select(["attempts.outcome", "devices.standing"])
    .where("rollout", "=", rollout)
    .where("stage", "=", stage)
    .execute();
  const of = (wanted: string) => rows.filter(({ outcome }) => outcome === wanted).length;
  const committed = of("committed");
  const rolledBack = of("rolled-back");
  // Devices that retired or are quarantined may not try anything: nobody waits for them.
  const open = rows.filter(
    ({ outcome, standing }) => outcome === null && standing === "active",
  ).length;
  return { open, committed, rolledBack, other: rows.length - open - committed - rolledBack };
}

/** Applies one event inside the transaction; answers whom to tell. */
async function applyEvent(
  ctx: ControllerContext,
  trx: Database,
  row: RolloutTable,
  event: RolloutEvent,
  reason: string,
): Promise<string[]> {
  const nowMs = ctx.clock.wallMs();
  const state = rolloutStateSchema.parse(JSON.parse(row.stateJson));
  const next = step(row.status as RolloutStatus, state, event, nowMs);
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
    if (effect === "offer-next-stage")
      touched.push(...(await offerStage(ctx, trx, row, next.state)));
    else touched.push(...(await withdrawOpen(trx, row.id)));
  }
  return touched;
}

/** Pause, resume or abort. Errors: `not-found`, `conflict`. */
export async function steerRollout(
  ctx: ControllerContext,
  id: string,
  event: "pause" | "resume" | "abort",
  reason: string,
): Promise<RolloutView> {
  const touched = await ctx.db.transaction().execute(async (trx) => {
    const row = await trx
      .selectFrom("rollouts")
      .selectAll()
      .where("id", "=", id)
      .executeTakeFirst();
    if (row === undefined) throw new FleetError("not-found", `there is no rollout ${id}`);
    return applyEvent(ctx, trx, row, event, reason);
  });
  await publishDesired(ctx, touched);
  await advanceRollout(ctx, id);
  return showRollout(ctx, id);
}

/** Errors: `not-found`. */
export async function showRollout(ctx: ControllerContext, id: string): Promise<RolloutView> {
  const row = await ctx.db
    .selectFrom("rollouts")
    .selectAll()
    .where("id", "=", id)
    .executeTakeFirst();
  if (row === undefined) throw new FleetError("not-found", `there is no rollout ${id}`);
  const attempts = await ctx.db
    .selectFrom("attempts")
    .selectAll()
    .where("rollout", "=", id)
    .orderBy("stage")
    .orderBy("device")
    .execute();
  return viewOf(row, attempts);
}

export async function listRollouts(ctx: ControllerContext): Promise<RolloutView[]> {
  const rows = await ctx.db
    .selectFrom("rollouts")
    .selectAll()
    .orderBy("createdAtMs", "desc")
    .execute();
  return rows.map((row) => viewOf(row, []));
}

/** Newest last. */
export async function attemptsOfDevice(
  ctx: ControllerContext,
  device: string,
): Promise<AttemptView[]> {
  const rows = await ctx.db
    .selectFrom("attempts")
    .selectAll()
    .where("device", "=", device)
    .orderBy("createdAtMs")
    .orderBy("id")
    .execute();
  return rows.map(attemptViewOf);
}

/** At start and every minute: deadlines and the time of manifests pass without any message. */
export async function advanceAllRollouts(ctx: ControllerContext): Promise<void> {
  await publishDesired(ctx, await renewManifests(ctx));
  const rows = await ctx.db
    .selectFrom("rollouts")
    .select("id")
    .where("status", "in", ["running", "paused"])
    .execute();
  for (const { id } of rows) {
    try {
      await advanceRollout(ctx, id);
    } catch (error) {
      // One that cannot go on (a lost file, say) must not keep the others back.
      ctx.log.error("a rollout could not advance", { id, error: String(error) });
    }
  }
}

function viewOf(row: RolloutTable, attempts: readonly AttemptTable[]): RolloutView {
  const state = rolloutStateSchema.parse(JSON.parse(row.stateJson));
  const { stateJson: _stateJson, updatedAtMs: _updatedAtMs, ...rest } = row;
  return {
    ...rest,
    status: row.status as RolloutStatus,
    ...state,
    attempts: attempts.map(attemptViewOf),
  };
}

function attemptViewOf({
  manifestJson: _manifestJson,
  gatesJson,
  ...row
}: AttemptTable): AttemptView {
  return { ...row, gates: gatesJson === null ? [] : z.unknown().parse(JSON.parse(gatesJson)) };
}
