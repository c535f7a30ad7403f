/**
 * Who waits for an offer of a rollout, and how many offers are open: the rows that pacing decides on.
 *
 * Invariant: a device's link is its label `link`, else the kind of link that its region states, else
 * `unknown`; devices behind one uplink share a name of their own by that label.
 */
import { sql } from "kysely";
import type { Stage } from "../../shared/api/stages.ts";
import type { ControllerContext } from "../context.ts";
import type { Region } from "../fleet/regions.ts";
import type { Database } from "../storage/database.ts";
import type { RolloutMemberTable } from "../storage/schema.ts";
import { type OfferLoad, type Place, rateWindowMs, withOpen } from "./pacing.ts";

/** Members of one region and link that wait; a null label stands for the region's own link. */
export interface WaitingPlace extends Place {
  readonly label: string | null;
}

/** Where members wait that are connected and due, by name. Links are told apart only where they count. */
export async function waitingPlaces(
  ctx: ControllerContext,
  trx: Database,
  rollout: string,
  stage: Stage,
): Promise<WaitingPlace[]> {
  const rows = await dueMembers(ctx, trx, rollout)
    .select(["rolloutMembers.region", labelWhereItCounts(stage).as("label")])
    .distinct()
    .orderBy("rolloutMembers.region")
    .orderBy("label")
    .execute();
  return rows.map(({ region, label }) => ({
    region,
    label,
    link: linkOf(ctx.fleet.regions, region, label),
  }));
}

/** The next members of a place, in the order of their stage. */
export async function nextMembers(
  ctx: ControllerContext,
  trx: Database,
  wanted: { rollout: string; stage: Stage; place: WaitingPlace; room: number },
): Promise<RolloutMemberTable[]> {
  const { rollout, stage, place, room } = wanted;
  return dueMembers(ctx, trx, rollout)
    .selectAll("rolloutMembers")
    .where("rolloutMembers.region", "=", place.region)
    .where(labelWhereItCounts(stage), "is", place.label)
    .orderBy("rolloutMembers.stage")
    .orderBy("rolloutMembers.place")
    .limit(room)
    .execute();
}

/** Undecided offers inside the stage's deadline, and all offers of the last minute. */
export async function loadOf(
  ctx: ControllerContext,
  trx: Database,
  rollout: string,
  stage: Stage,
): Promise<OfferLoad> {
  const nowMs = ctx.clock.wallMs();
  const open = await trx
    .selectFrom("attempts")
    .innerJoin("devices", "devices.id", "attempts.device")
    .select([
      "devices.region",
      labelWhereItCounts(stage).as("label"),
      (eb) => eb.fn.countAll<number>().as("count"),
    ])
    .where("attempts.rollout", "=", rollout)
    .where("attempts.outcome", "is", null)
    .where("attempts.status", "=", "offered")
    .where("attempts.createdAtMs", ">", nowMs - stage.deadlineMs)
    .where("devices.standing", "=", "active")
    .groupBy(["devices.region", "label"])
    .execute();
  const lately = await trx
    .selectFrom("attempts")
    .select((eb) => eb.fn.countAll<number>().as("count"))
    .where("rollout", "=", rollout)
    .where("createdAtMs", ">", nowMs - rateWindowMs)
    .executeTakeFirstOrThrow();
  const none: OfferLoad = {
    openByRegion: new Map(),
    openByLink: new Map(),
    offeredLately: lately.count,
  };
  return open.reduce(
    (load, { region, label, count }) =>
      withOpen(load, { region, link: linkOf(ctx.fleet.regions, region, label) }, count),
    none,
  );
}

function dueMembers(ctx: ControllerContext, trx: Database, rollout: string) {
  return trx
    .selectFrom("rolloutMembers")
    .innerJoin("devices", "devices.id", "rolloutMembers.device")
    .where("rolloutMembers.rollout", "=", rollout)
    .where("rolloutMembers.status", "=", "pending")
    .where("rolloutMembers.notBeforeMs", "<=", ctx.clock.wallMs())
    .where("devices.online", "=", 1);
}

/** Labels are read from JSON, which a stage without limits per link does not pay for. */
function labelWhereItCounts({ concurrentPerLink }: Stage) {
  return concurrentPerLink === null
    ? sql<string | null>`null`
    : sql<string | null>`json_extract("devices"."labelsJson", '$.link')`;
}

function linkOf(regions: readonly Region[], region: string, label: string | null): string {
  return label ?? regions.find(({ name }) => name === region)?.link.kind ?? "unknown";
}
