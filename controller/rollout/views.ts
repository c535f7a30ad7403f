/** Rollouts and attempts as the API shows them. */
import { z } from "zod";
import type { RolloutStatus } from "../../shared/api/routes/rollouts.ts";
import type { Stage } from "../../shared/api/stages.ts";
import { FleetError } from "../../shared/errors.ts";
import type { ControllerContext } from "../context.ts";
import type { Database } from "../storage/database.ts";
import { prepared } from "../storage/prepared.ts";
import type { AttemptTable, RolloutTable } from "../storage/schema.ts";
import { countStages, type StageTally } from "./counting.ts";
import {
  type ExcludedStratum,
  type OnHarm,
  type RolloutState,
  rolloutStateSchema,
} from "./machine.ts";
import { type ProofCount, proofOf } from "./proof.ts";

export interface StageView {
  readonly name: string;
  /** Null for stages that have not begun. */
  readonly startedAtMs: number | null;
  readonly endedAtMs: number | null;
  /** What was found about it last, and why. */
  readonly verdict: string | null;
  readonly why: string | null;
  readonly counts: Omit<StageTally, "lastCommitAtMs"> | null;
}

export interface RolloutSummary {
  readonly id: string;
  readonly kind: string;
  readonly restores: string | null;
  readonly model: string;
  readonly version: string;
  readonly status: RolloutStatus;
  readonly reason: string | null;
  readonly stage: number;
  readonly stages: readonly Stage[];
  readonly seed: string;
  readonly onHarm: OnHarm;
  /** Strata that were taken back alone. */
  readonly excluded: readonly ExcludedStratum[];
  /** What the fleet can prove, said when it started. */
  readonly power: string | null;
  readonly startedBy: string;
  readonly approvals: readonly string[];
  readonly approvalsNeeded: number;
  readonly releaseCounter: number;
  readonly createdAtMs: number;
}

export interface RolloutView extends RolloutSummary {
  readonly timeline: readonly StageView[];
  /** Of a rollback: devices that serve the old bundle again, of those that should. */
  readonly proof: ProofCount | null;
  readonly attempts: readonly AttemptView[];
}

export type AttemptView = Omit<AttemptTable, "manifestJson" | "gatesJson"> & {
  readonly gates: unknown;
};

export async function findRollout(db: Database, id: string): Promise<RolloutTable | undefined> {
  return (await rolloutRows(db, { id })).rows[0];
}

const rolloutRows = prepared((db, { id }: { id: string }) =>
  db.selectFrom("rollouts").selectAll().where("id", "=", id),
);

/** Errors: `not-found`. */
export async function rolloutRow(db: Database, id: string): Promise<RolloutTable> {
  const row = await findRollout(db, id);
  if (row === undefined) throw new FleetError("not-found", `there is no rollout ${id}`);
  return row;
}

export function stateOf(row: RolloutTable): RolloutState {
  return rolloutStateSchema.parse(JSON.parse(row.stateJson));
}

/** Errors: `not-found`. */
export async function showRollout(ctx: ControllerContext, id: string): Promise<RolloutView> {
  const row = await rolloutRow(ctx.db, id);
  const attempts = await ctx.db
    .selectFrom("attempts")
    .selectAll()
    .where("rollout", "=", id)
    .orderBy("stage")
    .orderBy("device")
    .orderBy("retry")
    .execute();
  const state = stateOf(row);
  const tallies = await countStages(ctx, ctx.db, id, state);
  return {
    ...summaryOf(row),
    timeline: timelineOf(row, state, tallies),
    proof: row.kind === "rollback" ? await proofOf(ctx.db, row) : null,
    attempts: attempts.map(attemptViewOf),
  };
}

export async function listRollouts(ctx: ControllerContext): Promise<RolloutSummary[]> {
  const rows = await ctx.db
    .selectFrom("rollouts")
    .selectAll()
    .orderBy("createdAtMs", "desc")
    .orderBy("releaseCounter", "desc")
    .execute();
  return rows.map(summaryOf);
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

function summaryOf(row: RolloutTable): RolloutSummary {
  const state = stateOf(row);
  return {
    id: row.id,
    kind: row.kind,
    restores: row.restores,
    model: row.model,
    version: row.version,
    status: row.status as RolloutStatus,
    reason: row.reason,
    stage: state.stage,
    stages: state.stages,
    seed: state.seed,
    onHarm: state.onHarm,
    excluded: state.excluded,
    power: state.power,
    startedBy: state.startedBy,
    approvals: state.approvals,
    approvalsNeeded: state.approvalsNeeded,
    releaseCounter: row.releaseCounter,
    createdAtMs: row.createdAtMs,
  };
}

function timelineOf(
  row: RolloutTable,
  state: RolloutState,
  tallies: readonly StageTally[],
): StageView[] {
  const waits = row.status === "awaiting-approval";
  return state.stages.map(({ name }, stage) => {
    const records = state.history.filter((record) => record.stage === stage);
    const last = records.at(-1);
    const isCurrent = stage === state.stage;
    const begun = !waits && stage <= state.stage;
    const { lastCommitAtMs: _lastCommitAtMs, ...counts } = tallies[stage] ?? {};
    return {
      name,
      startedAtMs: begun
        ? (last?.startedAtMs ?? (isCurrent ? state.stageStartedAtMs : null))
        : null,
      endedAtMs: isOver(last?.event) ? (last?.atMs ?? null) : null,
      verdict: last?.event ?? null,
      why: last?.why ?? null,
      counts: begun ? (counts as StageView["counts"]) : null,
    };
  });
}

function isOver(event: string | undefined): boolean {
  return event !== undefined && event !== "stage-ready" && event !== "stage-inconclusive";
}

function attemptViewOf({
  manifestJson: _manifestJson,
  gatesJson,
  ...row
}: AttemptTable): AttemptView {
  return { ...row, gates: gatesJson === null ? [] : z.unknown().parse(JSON.parse(gatesJson)) };
}
