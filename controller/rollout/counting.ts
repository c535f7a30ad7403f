/** Reads what the devices of each stage came to, for the verdict. */
import type { ControllerContext } from "../context.ts";
import { waitedMs } from "../fleet/patience.ts";
import type { Database } from "../storage/database.ts";
import { prepared } from "../storage/prepared.ts";
import { excludedStatus } from "./excluded.ts";
import type { RolloutState } from "./machine.ts";
import { noDevices, type StageCount } from "./stage-verdict.ts";
import { isWaiting, reportedOf } from "./waiting.ts";

export interface StageTally extends StageCount {
  readonly lastCommitAtMs: number | null;
}

type Tally = { -readonly [Key in keyof StageTally]: StageTally[Key] };

/** One tally for each stage that has begun, in order. */
export async function countStages(
  ctx: ControllerContext,
  trx: Database,
  rollout: string,
  state: Pick<RolloutState, "stage" | "stages">,
): Promise<StageTally[]> {
  const tallies = Array.from(
    { length: state.stage + 1 },
    (): Tally => ({ ...noDevices, lastCommitAtMs: null }),
  );
  await countAttempts(trx, rollout, tallies);
  await countMembers(trx, rollout, tallies);
  for (const [stage, tally] of tallies.entries()) {
    const deadlineMs = state.stages[stage]?.deadlineMs ?? 0;
    const late = await lateDevices(ctx, trx, { rollout, stage, deadlineMs, open: tally.open });
    tally.open -= late.silent + late.waiting;
    tally.silent = late.silent;
    tally.waiting = late.waiting;
  }
  return tallies;
}

const attemptCounts = prepared((db, { rollout }: { rollout: string }) =>
  db
    .selectFrom("attempts")
    .leftJoin("devices", "devices.id", "attempts.device")
    .leftJoin("rolloutMembers", (join) =>
      join
        .onRef("rolloutMembers.rollout", "=", "attempts.rollout")
        .onRef("rolloutMembers.device", "=", "attempts.device"),
    )
    .select((eb) => [
      "attempts.stage",
      "attempts.status",
      "attempts.outcome",
      "devices.standing",
      "rolloutMembers.status as memberStatus",
      eb("attempts.retry", "=", eb.ref("rolloutMembers.retry")).as("isNewest"),
      eb.fn.countAll<number>().as("count"),
      eb.fn.max("attempts.decidedAtMs").as("decidedAtMs"),
    ])
    .where("attempts.rollout", "=", rollout)
    // Controls try nothing new: what they say is evidence and no result of the stage.
    .where("attempts.arm", "!=", "control")
    .groupBy([
      "attempts.stage",
      "attempts.status",
      "attempts.outcome",
      "devices.standing",
      "memberStatus",
      "isNewest",
    ]),
);

async function countAttempts(trx: Database, rollout: string, tallies: Tally[]): Promise<void> {
  for (const row of (await attemptCounts(trx, { rollout })).rows) {
    const tally = tallies[row.stage];
    const kind = kindOf(row);
    if (tally === undefined || kind === undefined) continue;
    tally[kind] += row.count;
    if (kind === "committed") {
      tally.lastCommitAtMs = Math.max(tally.lastCommitAtMs ?? 0, row.decidedAtMs ?? 0);
    }
  }
}

/** Who was taken back with its stratum counts by its membership alone. What was tried again counts once; what was withdrawn unseen is counted by its membership. */
function kindOf(row: {
  status: string;
  outcome: string | null;
  standing: string | null;
  memberStatus: string | null;
  isNewest: unknown;
}): "open" | "committed" | "rolledBack" | "other" | undefined {
  if (row.memberStatus === excludedStatus) return undefined;
  if (row.outcome === "committed") return "committed";
  if (row.outcome === "rolled-back") return "rolledBack";
  if (row.status === "withdrawn" || row.memberStatus === "taken") return undefined;
  // Devices that retired or are quarantined may not try anything: nobody waits for them.
  if (row.outcome === null && row.standing === "active") return "open";
  return Number(row.isNewest) === 0 ? undefined : "other";
}

const memberCounts = prepared((db, { rollout }: { rollout: string }) =>
  db
    .selectFrom("rolloutMembers")
    .innerJoin("devices", "devices.id", "rolloutMembers.device")
    .select((eb) => [
      "rolloutMembers.stage",
      "rolloutMembers.status",
      "devices.online",
      eb.fn.countAll<number>().as("count"),
    ])
    .where("rolloutMembers.rollout", "=", rollout)
    .where("rolloutMembers.status", "in", ["pending", "held", "taken", excludedStatus])
    .where("rolloutMembers.arm", "!=", "control")
    .where("devices.standing", "=", "active")
    .groupBy(["rolloutMembers.stage", "rolloutMembers.status", "devices.online"]),
);

async function countMembers(trx: Database, rollout: string, tallies: Tally[]): Promise<void> {
  for (const { stage, status, online, count } of (await memberCounts(trx, { rollout })).rows) {
    const tally = tallies[stage];
    if (tally === undefined) continue;
    if (status === "held") tally.held += count;
    else if (status === "taken") tally.taken += count;
    else if (status === excludedStatus) tally.excluded += count;
    else if (online === 1) tally.pending += count;
    else tally.away += count;
  }
}

/** Open attempts past the deadline: silent, or waiting by the device's own word. */
async function lateDevices(
  ctx: ControllerContext,
  trx: Database,
  options: { rollout: string; stage: number; deadlineMs: number; open: number },
): Promise<{ silent: number; waiting: number }> {
  const { rollout, stage, deadlineMs, open } = options;
  const late = { silent: 0, waiting: 0 };
  if (open === 0) return late;
  const rows = await trx
    .selectFrom("attempts")
    .innerJoin("devices", "devices.id", "attempts.device")
    .select(["attempts.id", "attempts.createdAtMs", "devices.reportedJson", "devices.online"])
    .where("attempts.rollout", "=", rollout)
    .where("attempts.stage", "=", stage)
    .where("attempts.outcome", "is", null)
    .where("attempts.status", "=", "offered")
    .where("attempts.arm", "!=", "control")
    .where("attempts.createdAtMs", "<=", ctx.clock.wallMs() - deadlineMs)
    .where("devices.standing", "=", "active")
    .execute();
  const nowMs = ctx.clock.wallMs();
  for (const { id, createdAtMs, reportedJson, online } of rows) {
    if (waitedMs(ctx, createdAtMs, deadlineMs) < deadlineMs) continue;
    if (isWaiting(reportedOf(reportedJson), id, { nowMs, online: online === 1 })) late.waiting++;
    else late.silent++;
  }
  return late;
}
