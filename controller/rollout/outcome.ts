/**
 * Stores the one outcome of an attempt and lets its rollout take the next step.
 *
 * Invariant: only a device that serves the bundle of its signed manifest has committed.
 */
import { z } from "zod";
import { sha256Schema } from "../../shared/artifact/hash.ts";
import type { PayloadOf } from "../../shared/protocol/registry.ts";
import type { OutboxHandler } from "../mqtt/handlers/handler.ts";
import { recordEvent } from "../storage/events/repository.ts";
import { advanceRollout, deviceAppeared } from "./advance.ts";
import { followOutcome } from "./retry.ts";
import { recordOutcome } from "./soaks.ts";
import { rolloutRow, stateOf } from "./views.ts";

type Outcome = PayloadOf<"attempt-outcome">;

/** The part of a stored manifest that says what was ordered. */
const orderedSchema = z.object({
  signed: z.object({ bundle: z.object({ sha256: sha256Schema }) }),
});

export const onAttemptOutcome: OutboxHandler<"attempt-outcome"> = async (
  ctx,
  trx,
  { device },
  payload,
) => {
  const nowMs = ctx.clock.wallMs();
  const attempt = await trx
    .selectFrom("attempts")
    .select(["rollout", "device", "stage", "retry", "status", "manifestJson"])
    .where("id", "=", payload.attempt)
    .where("device", "=", device)
    .executeTakeFirst();
  if (attempt === undefined) return undefined;
  const ordered = orderedSchema.parse(JSON.parse(attempt.manifestJson)).signed.bundle.sha256;
  const { outcome, code, why } = believed(payload, ordered);
  const updated = await trx
    .updateTable("attempts")
    .set({
      status: "decided",
      outcome,
      code,
      why,
      gatesJson: JSON.stringify(payload.gates),
      servingSha256: payload.servingSha256,
      decidedAtMs: nowMs,
    })
    .where("id", "=", payload.attempt)
    .where("device", "=", device)
    // The first outcome stands, however often or late another copy comes.
    .where("outcome", "is", null)
    .returning("rollout")
    .executeTakeFirst();
  if (updated === undefined) return undefined;
  await recordEvent(trx, {
    atMs: nowMs,
    kind: `attempt-${outcome}`,
    subject: device,
    message: `${payload.model} ${payload.version}: ${why}`,
    data: {
      attempt: payload.attempt,
      rollout: updated.rollout,
      code,
      gates: payload.gates,
    },
  });
  const withdrawn = attempt.status === "withdrawn";
  const rollout = await rolloutRow(trx, attempt.rollout).catch(() => undefined);
  const soakMs = rollout && stateOf(rollout).stages[attempt.stage]?.soakMs;
  await recordOutcome(ctx, trx, payload.attempt, { soakMs: soakMs ?? 0 });
  await followOutcome(ctx, trx, { ...attempt, withdrawn }, { outcome, code });
  return async () => {
    const devices = ctx.evidence.offered(updated.rollout);
    await ctx.looks.after(updated.rollout, devices, () => advanceRollout(ctx, updated.rollout));
    // It went on with what was taken back meanwhile: a rollback may have to reach it too.
    if (withdrawn) await deviceAppeared(ctx, device);
  };
};

/** What the payload proves: a commit counts when the ordered bundle is what is served. */
function believed(payload: Outcome, ordered: string): Pick<Outcome, "outcome" | "code" | "why"> {
  const { outcome, bundleSha256, servingSha256 } = payload;
  if (outcome !== "committed" || (bundleSha256 === ordered && servingSha256 === ordered))
    return payload;
  const why = `it says that it committed ${bundleSha256} and serves ${servingSha256 ?? "nothing"}; ordered was ${ordered}`;
  return { outcome: "failed", code: "outcome-unproven", why };
}
