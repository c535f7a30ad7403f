/**
 * What A/A rollouts say about the promise: a device that runs the same bundle twice rolls back with
 * probability at most alphaDevice, and a rollout of it stops with probability at most alphaRollout.
 */
import type { RateAnswer } from "../../shared/api/routes/rollouts.ts";
import { exactInterval } from "../../shared/statistics/exact-interval.ts";
import type { ControllerContext } from "../context.ts";
import { stateOf } from "./views.ts";

export async function calibrationOf(ctx: ControllerContext) {
  const { alphaDevice, alphaRollout } = ctx.config;
  const rows = await ctx.db
    .selectFrom("rollouts")
    .selectAll()
    .where("kind", "=", "aa")
    .orderBy("createdAtMs", "desc")
    .execute();
  const outcomes = await ctx.db
    .selectFrom("attempts")
    .innerJoin("rollouts", "rollouts.id", "attempts.rollout")
    .select(["attempts.rollout", "attempts.outcome", (eb) => eb.fn.countAll<number>().as("count")])
    .where("rollouts.kind", "=", "aa")
    .where("attempts.outcome", "in", ["committed", "rolled-back"])
    .groupBy(["attempts.rollout", "attempts.outcome"])
    .execute();
  const sum = (wanted: (row: (typeof outcomes)[number]) => boolean) =>
    outcomes.filter(wanted).reduce((total, { count }) => total + count, 0);
  const ended = rows.filter(({ status }) => status === "stopped" || status === "completed");
  // A stratum that was taken back alone is a false rollback as well.
  const stopped = ended.filter(
    (row) => row.status === "stopped" || stateOf(row).excluded.length > 0,
  );
  const isBack = (outcome: string | null) => outcome === "rolled-back";
  return {
    devices: rateOf(
      sum(({ outcome }) => isBack(outcome)),
      sum(() => true),
      alphaDevice,
    ),
    rollouts: rateOf(stopped.length, ended.length, alphaRollout),
    each: rows.map(({ id, model, version, status, createdAtMs }) => ({
      rollout: id,
      model,
      version,
      status,
      createdAtMs,
      devices: rateOf(
        sum(({ rollout, outcome }) => rollout === id && isBack(outcome)),
        sum(({ rollout }) => rollout === id),
        alphaDevice,
      ),
    })),
  };
}

function rateOf(observed: number, n: number, promised: number): RateAnswer {
  const [low, high] = exactInterval(observed, n, 0.05);
  return { observed, n, promised, low, high };
}
