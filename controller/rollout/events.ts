/**
 * How a rollout comes to be and takes one event of its machine: state, members, attempts and wanted states
 * as rows of one transaction. Answers always name the devices that have to be told afterwards.
 */
import type { z } from "zod";
import type { RolloutStatus } from "../../shared/api/routes/rollouts.ts";
import type { stageSchema } from "../../shared/api/stages.ts";
import { FleetError } from "../../shared/errors.ts";
import type { ControllerContext } from "../context.ts";
import type { Database } from "../storage/database.ts";
import { recordEvent } from "../storage/events/repository.ts";
import type { RolloutTable } from "../storage/schema.ts";
import { drawReleaseCounter } from "./counter.ts";
import { type OnHarm, type RolloutState, step } from "./machine.ts";
import { selectStage } from "./members.ts";
import { offerPending, withdrawOpen } from "./offers.ts";
import type { RolloutEvent } from "./transitions.ts";
import { stateOf } from "./views.ts";

const idBytes = 5;
const seedBytes = 8;

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
    onHarm?: OnHarm | undefined;
    power?: string;
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
    onHarm: order.onHarm ?? "stop",
    excluded: [],
    power: order.power ?? null,
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

export function nobody(stage: string | undefined): FleetError {
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
