/** What became of a rollout, from the controller's own database. */
import type { ControllerContext } from "../../../controller/context.ts";
import { rolloutRow } from "../../../controller/rollout/views.ts";

export interface RolloutReport {
  /** `completed` is the whole fleet; anything else ended or waits before it. */
  readonly status: string;
  readonly reason: string | null;
  /** Attempts that came to an outcome: of the rollout, its controls and its way back. */
  readonly decided: number;
  /** Devices that committed the release, if only for a while. */
  readonly committed: number;
  /** Devices beyond the canary that were offered the release, and those that committed it. */
  readonly offeredBeyond: number;
  readonly committedBeyond: number;
  /** From the first offer to the stop, in virtual ms; null when it did not stop. */
  readonly stopMs: number | null;
  /**
   * From the first commit until no device was meant to run it any more: the end of the way back, or the stop
   * where there was none to go. Null when it did not stop or nobody committed it.
   */
  readonly harmMs: number | null;
}

export async function reportOf(ctx: ControllerContext, id: string): Promise<RolloutReport> {
  const { status, reason } = await rolloutRow(ctx.db, id);
  const rows = await ctx.db
    .selectFrom("attempts")
    .select(["rollout", "device", "stage", "arm", "outcome", "createdAtMs", "decidedAtMs"])
    .where("releaseCounter", ">", 1)
    .execute();
  const own = rows.filter(({ rollout, arm }) => rollout === id && arm !== "control");
  const commits = own.filter(({ outcome }) => outcome === "committed");
  const beyond = ({ stage }: { stage: number }) => stage > 0;
  const stoppedMs = await eventMs(ctx, "rollout-stopped", id);
  const backMs = (await wayBackMs(ctx, id)) ?? stoppedMs;
  const since = (endMs: number | null, times: readonly (number | null)[]) => {
    const known = times.filter((time) => time !== null);
    return endMs === null || known.length === 0 ? null : endMs - Math.min(...known);
  };
  return {
    status,
    reason,
    decided: rows.filter(({ outcome }) => outcome !== null).length,
    committed: devicesOf(commits),
    offeredBeyond: devicesOf(own.filter(beyond)),
    committedBeyond: devicesOf(commits.filter(beyond)),
    stopMs: since(
      stoppedMs,
      own.map(({ createdAtMs }) => createdAtMs),
    ),
    harmMs: since(
      stoppedMs === null ? null : backMs,
      commits.map(({ decidedAtMs }) => decidedAtMs),
    ),
  };
}

const devicesOf = (rows: readonly { device: string }[]) =>
  new Set(rows.map(({ device }) => device)).size;

/** When the way back of a rollout ended; null when there was none. */
async function wayBackMs(ctx: ControllerContext, id: string): Promise<number | null> {
  const back = await ctx.db
    .selectFrom("rollouts")
    .select("id")
    .where("restores", "=", id)
    .executeTakeFirst();
  return back === undefined ? null : eventMs(ctx, "rollout-completed", back.id);
}

async function eventMs(
  { db }: ControllerContext,
  kind: string,
  rollout: string,
): Promise<number | null> {
  const event = await db
    .selectFrom("events")
    .select("atMs")
    .where("kind", "=", kind)
    .where("subject", "=", rollout)
    .orderBy("atMs", "desc")
    .executeTakeFirst();
  return event?.atMs ?? null;
}
