/**
 * The verdict on a stage: what its devices came to, and what the ledger's evidence says of the release.
 *
 * Invariants: harm is told by the evidence alone, and stops every rollout whatever judges it; only a
 * rollout without a claim to prove goes on by counts; each verdict that is acted on is in the ledger.
 */
import type { ControllerContext } from "../context.ts";
import type { Database } from "../storage/database.ts";
import type { RolloutTable } from "../storage/schema.ts";
import { candidatesOf } from "./candidates.ts";
import type { StageTally } from "./counting.ts";
import type { EvidenceVerdict } from "./evidence/judge.ts";
import { decide } from "./evidence/ledger.ts";
import { addDecision, openLedger } from "./evidence/store.ts";
import { excludedStatus, isExcluded } from "./excluded.ts";
import type { RolloutState } from "./machine.ts";
import { promiseOf } from "./promise.ts";
import { selectDevices } from "./selection.ts";
import { openSoaks, stageSoaks } from "./soaks.ts";
import { afterSoaks, type StageVerdict } from "./stage-verdict.ts";

export interface Stand {
  readonly row: RolloutTable;
  readonly state: RolloutState;
  readonly counts: readonly StageTally[];
  /** The verdict by counts alone. */
  readonly counted: StageVerdict;
  readonly isOverdue: boolean;
}

export async function judgeStage(
  ctx: ControllerContext,
  trx: Database,
  stand: Stand,
): Promise<StageVerdict> {
  const { row, state } = stand;
  const known = (await ctx.evidence.of(trx, row.id)) ?? (await openLate(ctx, trx, row));
  const open = (stand.counts.at(-1)?.open ?? 0) + (await openSoaks(trx, row.id));
  const proves = known.rules.judge !== "device-gates" && state.stage < state.stages.length - 1;
  const counted = proves ? stand.counted : await watched(ctx, trx, stand);
  const standing = {
    open,
    shareAfterNext:
      proves && (open === 0 || stand.isOverdue) ? await shareAfterNext(ctx, trx, stand) : 1,
    overdue: stand.isOverdue,
    excluded: state.excluded.map(({ stratum }) => stratum),
  };
  const { verdict, decision } = decide(known.rules, known.evidence, {
    stage: state.stage,
    standing,
  });
  const answer = combined(verdict, { counted, proves });
  // Waiting changes nothing, and it is found again with every message.
  if (answer.kind !== "waiting") await addDecision(trx, row.id, decision, ctx.clock.wallMs());
  return answer;
}

/** The verdict by counts, once the devices behind it were heard of after their soak. */
async function watched(
  ctx: ControllerContext,
  trx: Database,
  { row, state, counted }: Stand,
): Promise<StageVerdict> {
  const { stage, stages } = state;
  const { soakMs = 0, deadlineMs = 0 } = stages[stage] ?? {};
  // A stage without a soak asks nothing more than the commits that it counted.
  if (counted.kind !== "passed" || soakMs === 0) return counted;
  const place = { rollout: row.id, stage, soakMs, deadlineMs };
  return afterSoaks(counted, await stageSoaks(ctx, trx, place));
}

/** A rollout of an older controller gets the rules of today. */
async function openLate(ctx: ControllerContext, trx: Database, row: RolloutTable) {
  const candidates = await candidatesOf(ctx, trx, row);
  const { rules } = await promiseOf(ctx, trx, { ...row, candidates, judge: "device-gates" });
  await openLedger(trx, row.id, rules, ctx.clock.wallMs());
  const known = await ctx.evidence.of(trx, row.id);
  if (known === undefined) throw new Error("a ledger that was opened is there");
  return known;
}

function combined(
  verdict: EvidenceVerdict,
  { counted, proves }: { counted: StageVerdict; proves: boolean },
): StageVerdict {
  if (verdict.kind === "roll-back") {
    const { stratum, why } = verdict;
    return stratum === undefined
      ? { kind: "failed", why }
      : { kind: "stratum-failed", stratum, why };
  }
  if (!proves || counted.kind === "failed" || counted.kind === "overtaken") return counted;
  switch (verdict.kind) {
    case "promote":
      return { kind: "passed", why: verdict.why };
    case "expand":
      return counted.kind === "passed" ? { kind: "passed", why: verdict.why } : counted;
    case "inconclusive":
      return counted.kind === "waiting" ? counted : { kind: "inconclusive", why: verdict.why };
    case "waiting":
      return { kind: "waiting" };
  }
}

/** Share of the fleet that would run the release once the next stage is offered. */
async function shareAfterNext(
  ctx: ControllerContext,
  trx: Database,
  { row, state }: Stand,
): Promise<number> {
  const next = state.stages[state.stage + 1];
  const all = await candidatesOf(ctx, trx, row);
  if (next === undefined || all.length === 0) return 1;
  const members = await trx
    .selectFrom("rolloutMembers")
    .select(["device", "arm", "status"])
    .where("rollout", "=", row.id)
    .execute();
  const known = new Set(members.map(({ device }) => device));
  const rest = all.filter((one) => !known.has(one.id) && !isExcluded(state, one));
  const selected = selectDevices(next.select, { all, rest, seed: state.seed }).length;
  const isLast = state.stage + 1 === state.stages.length - 1;
  // Half of a stage of pairs are controls, which do not run the release.
  const added = isLast ? selected : Math.ceil(selected / 2);
  const running = members.filter(
    ({ arm, status }) => arm !== "control" && status !== excludedStatus,
  ).length;
  return Math.min(1, (running + added) / all.length);
}
