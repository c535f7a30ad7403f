/**
 * Takes a release back in one stratum alone: its devices get what they ran before, and nobody in it is
 * offered the release any more. The rollout goes on with the others.
 *
 * Invariant: what is excluded stands in the rollout's state, in the transaction that takes it back.
 */
import { sql } from "kysely";
import type { ControllerContext } from "../context.ts";
import type { Database } from "../storage/database.ts";
import { recordEvent } from "../storage/events/repository.ts";
import type { RolloutTable } from "../storage/schema.ts";
import { takeBack } from "./campaign.ts";
import { excludedStatus } from "./excluded.ts";
import type { RolloutState } from "./machine.ts";
import { withdrawOpen } from "./offers.ts";

/** Answers whom to tell, and the rollback that began when a device had committed something. */
export async function excludeStratum(
  ctx: ControllerContext,
  trx: Database,
  { row, state }: { row: RolloutTable; state: RolloutState },
  { stratum, why }: { stratum: string; why: string },
): Promise<{ devices: string[]; campaign: string | undefined }> {
  const nowMs = ctx.clock.wallMs();
  const members = await trx
    .updateTable("rolloutMembers")
    .set({ status: excludedStatus })
    .where("rollout", "=", row.id)
    .where(sql<string>`"region" || '/' || "deviceClass"`, "=", stratum)
    .returning(["region", "deviceClass"])
    .execute();
  const withdrawn = await withdrawOpen(trx, row.id, why, excludedStatus);
  const [place] = members;
  const back =
    place !== undefined && state.onHarm === "roll-back"
      ? await takeBack(ctx, trx, row.id, {
          reason: `in ${stratum} alone: ${why}`,
          by: "fleetfit",
          select: {
            by: "query",
            where: [
              { field: "region", equals: place.region },
              { field: "class", equals: place.deviceClass },
            ],
          },
        })
      : undefined;
  const campaign = back?.campaign ?? null;
  const excluded = [...state.excluded, { stratum, why, atMs: nowMs, campaign }];
  await trx
    .updateTable("rollouts")
    .set({ stateJson: JSON.stringify({ ...state, excluded }), updatedAtMs: nowMs })
    .where("id", "=", row.id)
    .execute();
  await recordEvent(trx, {
    atMs: nowMs,
    kind: "rollout-stratum-excluded",
    subject: row.id,
    message: `taken back in ${stratum} alone, the others go on: ${why}`,
    data: { stratum, campaign, members: members.length },
  });
  return {
    devices: [...new Set([...withdrawn, ...(back?.devices ?? [])])],
    campaign: back?.campaign,
  };
}
