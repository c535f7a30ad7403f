/**
 * What the outcome of one attempt means for the members of its rollout: tried again when the world and
 * not the model failed and the stage has budget left; a first commit frees those that were held.
 */
import { errorFacts, isErrorCode } from "../../shared/errors.ts";
import type { PayloadOf } from "../../shared/protocol/registry.ts";
import type { ControllerContext } from "../context.ts";
import type { Database } from "../storage/database.ts";
import { recordEvent } from "../storage/events/repository.ts";
import { liveStatuses } from "./transitions.ts";
import { stateOf } from "./views.ts";

type Outcome = Pick<PayloadOf<"attempt-outcome">, "outcome" | "code">;

/** A full disk or a bad link needs time; each further try waits as much longer. */
const pauseMs = 60_000;

export async function followOutcome(
  ctx: ControllerContext,
  trx: Database,
  attempt: { rollout: string; device: string; stage: number; retry: number; withdrawn: boolean },
  outcome: Outcome,
): Promise<void> {
  if (outcome.outcome === "committed") {
    await trx
      .updateTable("rolloutMembers")
      .set({ status: "pending" })
      .where("rollout", "=", attempt.rollout)
      .where("status", "=", "held")
      .execute();
  } else if (!attempt.withdrawn && isOfTheWorld(outcome)) {
    await tryAgain(ctx, trx, attempt, outcome.code);
  }
}

/** True for failures that a later try may not have: links, space, time; never a gate's verdict. */
export function isOfTheWorld({ outcome, code }: Outcome): boolean {
  if (outcome !== "failed" && outcome !== "refused") return false;
  if (code === "interrupted" || code === "manifest-expired") return true;
  return isErrorCode(code) && errorFacts[code].retryable;
}

async function tryAgain(
  ctx: ControllerContext,
  trx: Database,
  attempt: { rollout: string; device: string; stage: number; retry: number },
  code: string,
): Promise<void> {
  const { rollout, device, stage, retry } = attempt;
  const row = await trx
    .selectFrom("rollouts")
    .selectAll()
    .where("id", "=", rollout)
    .where("status", "in", [...liveStatuses])
    .executeTakeFirst();
  if (row === undefined) return;
  const budget = stateOf(row).stages[stage]?.retryBudget ?? 0;
  // Members that wait for their next try have used it already.
  const { spent } = await trx
    .selectFrom("rolloutMembers")
    .select((eb) => eb.fn.sum<number | null>("retry").as("spent"))
    .where("rollout", "=", rollout)
    .where("stage", "=", stage)
    .executeTakeFirstOrThrow();
  const used = spent ?? 0;
  if (used >= budget) return;
  const nowMs = ctx.clock.wallMs();
  const waitMs = pauseMs * (retry + 1);
  await trx
    .updateTable("rolloutMembers")
    .set({ status: "pending", retry: retry + 1, notBeforeMs: nowMs + waitMs })
    .where("rollout", "=", rollout)
    .where("device", "=", device)
    .where("status", "=", "offered")
    .execute();
  await recordEvent(trx, {
    atMs: nowMs,
    kind: "attempt-retried",
    subject: device,
    message: `after ${code}, in ${waitMs / 1_000} s: retry ${used + 1} of ${budget} in this stage`,
    data: { rollout, code },
  });
}
