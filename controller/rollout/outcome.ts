/** Stores the one outcome of an attempt and lets its rollout take the next step. */
import type { OutboxHandler } from "../mqtt/handlers/handler.ts";
import { recordEvent } from "../storage/events/repository.ts";
import { advanceRollout } from "./service.ts";

export const onAttemptOutcome: OutboxHandler<"attempt-outcome"> = async (
  ctx,
  trx,
  { device },
  payload,
) => {
  const nowMs = ctx.clock.wallMs();
  const updated = await trx
    .updateTable("attempts")
    .set({
      status: "decided",
      outcome: payload.outcome,
      code: payload.code,
      why: payload.why,
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
    kind: `attempt-${payload.outcome}`,
    subject: device,
    message: `${payload.model} ${payload.version}: ${payload.why}`,
    data: {
      attempt: payload.attempt,
      rollout: updated.rollout,
      code: payload.code,
      gates: payload.gates,
    },
  });
  return () => advanceRollout(ctx, updated.rollout);
};
