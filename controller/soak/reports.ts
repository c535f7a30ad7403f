/**
 * Stores what devices found out about a model after its commit.
 *
 * Invariant: one row per attempt and verdict, and per attempt and horizon, whatever is sent twice; a
 * device speaks of its own attempts only.
 */
import type { SoakVerdict } from "../../shared/protocol/messages/soak-report.ts";
import type { PayloadOf } from "../../shared/protocol/registry.ts";
import type { ControllerContext } from "../context.ts";
import type { OutboxHandler } from "../mqtt/handlers/handler.ts";
import { advanceRollout } from "../rollout/advance.ts";
import { recordLivePair } from "../rollout/live-pairs.ts";
import type { Database } from "../storage/database.ts";
import { recordEvent } from "../storage/events/repository.ts";
import { followSoakReport } from "./consequences.ts";

export const onSoakReport: OutboxHandler<"soak-report"> = async (ctx, trx, { device }, report) => {
  const attempt = await attemptOf(trx, device, report);
  if (attempt === undefined) return undefined;
  const { verdict, code, why, numbers, warnings } = report;
  const nowMs = ctx.clock.wallMs();
  const inserted = await trx
    .insertInto("soakReports")
    .values({
      attempt: report.attempt,
      verdict,
      device,
      model: attempt.model,
      version: attempt.version,
      bundleSha256: report.bundleSha256,
      code,
      why,
      numbersJson: JSON.stringify(numbers),
      histogramsJson: JSON.stringify(report.histograms),
      warningsJson: JSON.stringify(warnings),
      servingSha256: report.servingSha256,
      receivedAtMs: nowMs,
    })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  if (inserted.numInsertedOrUpdatedRows === 0n) return undefined;
  await recordEvent(trx, {
    atMs: nowMs,
    kind: `soak-${verdict}`,
    subject: device,
    message: `${attempt.model} ${attempt.version}: ${why}`,
    data: { attempt: report.attempt, rollout: attempt.rollout, code, numbers, warnings },
  });
  return followSoakReport(ctx, trx, { rollout: attempt.rollout, device, verdict, why });
};

export const onObservation: OutboxHandler<"observation"> = async (ctx, trx, { device }, seen) => {
  const attempt = await attemptOf(trx, device, seen);
  if (attempt === undefined) return undefined;
  const inserted = await trx
    .insertInto("observations")
    .values({
      attempt: seen.attempt,
      horizonMs: seen.horizonMs,
      device,
      model: attempt.model,
      arm: seen.arm,
      signalsJson: JSON.stringify(seen.signals),
      receivedAtMs: ctx.clock.wallMs(),
    })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  if (inserted.numInsertedOrUpdatedRows === 0n) return undefined;
  const { rollout } = attempt;
  const { horizonMs } = seen;
  if (!(await recordLivePair(ctx, trx, { rollout, device, horizonMs }))) return undefined;
  return () => {
    const devices = ctx.evidence.offered(rollout);
    return ctx.looks.after(rollout, devices, () => advanceRollout(ctx, rollout));
  };
};

/** The attempt that a report names; undefined when it is not this device's or is of another model. */
export function attemptOf(
  trx: Database,
  device: string,
  { attempt, model }: Pick<PayloadOf<"soak-report">, "attempt" | "model">,
) {
  return trx
    .selectFrom("attempts")
    .select(["model", "version", "rollout"])
    .where("id", "=", attempt)
    .where("device", "=", device)
    .where("model", "=", model)
    .executeTakeFirst();
}

/** Newest first. */
export async function listSoaks(
  ctx: ControllerContext,
  filter: { rollout?: string | undefined; device?: string | undefined },
) {
  const rows = await ctx.db
    .selectFrom("soakReports")
    .innerJoin("attempts", "attempts.id", "soakReports.attempt")
    .selectAll("soakReports")
    .select("attempts.rollout")
    .$if(filter.rollout !== undefined, (query) =>
      query.where("attempts.rollout", "=", filter.rollout ?? ""),
    )
    .$if(filter.device !== undefined, (query) =>
      query.where("soakReports.device", "=", filter.device ?? ""),
    )
    .orderBy("soakReports.receivedAtMs", "desc")
    .orderBy("soakReports.attempt")
    .limit(1_000)
    .execute();
  return rows.map(({ numbersJson, histogramsJson, warningsJson, verdict, ...row }) => ({
    ...row,
    verdict: verdict as SoakVerdict,
    numbers: JSON.parse(numbersJson),
    histograms: JSON.parse(histogramsJson),
    warnings: JSON.parse(warningsJson),
  }));
}
