/**
 * What a report from a soak does to its rollout: a device that took its model back is harmed, and
 * alarms of more devices than chance explains pause the rollout until somebody has looked.
 */
import { isFleetError } from "../../shared/errors.ts";
import type { SoakVerdict } from "../../shared/protocol/messages/soak-report.ts";
import { bernoulliLogE } from "../../shared/statistics/e-process.ts";
import type { ControllerContext } from "../context.ts";
import { advanceRollout } from "../rollout/advance.ts";
import { steerRollout } from "../rollout/service.ts";
import { recordTakenBack } from "../rollout/soaks.ts";
import type { Database } from "../storage/database.ts";

/** A device whose models differ no more than expected raises a false alarm with this probability. */
const falseAlarmRate = 1 / 1_000;

/** Call in the transaction that stores the report; what it answers runs after the commit. */
export async function followSoakReport(
  ctx: ControllerContext,
  trx: Database,
  report: { rollout: string; device: string; verdict: SoakVerdict; why: string },
): Promise<(() => Promise<void>) | undefined> {
  const { rollout, device, verdict, why } = report;
  if (verdict === "rolled-back") {
    await recordTakenBack(ctx, trx, { rollout, device });
    return () => advanceRollout(ctx, rollout);
  }
  if (verdict !== "paused" || !(await alarmsAreTooMany(ctx, trx, rollout))) return undefined;
  return () => pause(ctx, rollout, `${device}: ${why}`);
}

/** More alarms among the devices that committed than one rollout in 1/alpha would see by chance. */
async function alarmsAreTooMany(
  ctx: ControllerContext,
  trx: Database,
  rollout: string,
): Promise<boolean> {
  const { committed, alarms } = await trx
    .selectFrom("attempts")
    .leftJoin("soakReports", (join) =>
      join
        .onRef("soakReports.attempt", "=", "attempts.id")
        .on("soakReports.verdict", "=", "paused"),
    )
    .select((eb) => [
      eb.fn.countAll<number>().as("committed"),
      eb.fn.count<number>("soakReports.attempt").as("alarms"),
    ])
    .where("attempts.rollout", "=", rollout)
    .where("attempts.outcome", "=", "committed")
    .executeTakeFirstOrThrow();
  const counts = { ones: alarms, zeros: Math.max(0, committed - alarms) };
  const logE = bernoulliLogE(counts, { rate: falseAlarmRate, side: "above" });
  return logE >= Math.log(1 / ctx.config.alphaRollout);
}

/** A rollout that does not run needs no pause. */
async function pause(ctx: ControllerContext, rollout: string, why: string): Promise<void> {
  try {
    await steerRollout(ctx, rollout, "pause", why.slice(0, 500));
  } catch (error) {
    if (!isFleetError(error, "conflict") && !isFleetError(error, "not-found")) throw error;
  }
}
