/**
 * From what devices did to entries of the ledger: trials, the end of each soak, and what a pair says.
 *
 * Invariants: a device that took the release and was not heard of past its deadline is harmed, since a
 * release that kills its machines would look perfect otherwise; what was said once is never taken back.
 */
import { z } from "zod";
import { sha256Schema } from "../../shared/artifact/hash.ts";
import { gateResultSchema } from "../../shared/protocol/messages/attempt-outcome.ts";
import type { ControllerContext } from "../context.ts";
import { lastHeardAtMs } from "../fleet/absence.ts";
import { waitedMs } from "../fleet/patience.ts";
import type { Database } from "../storage/database.ts";
import type {
  AttemptTable,
  PairTable,
  RolloutMemberTable,
  RolloutTable,
} from "../storage/schema.ts";
import type { EvidenceEntry } from "./evidence/entry.ts";
import { stratumOf } from "./evidence/pairing.ts";
import { addEntries } from "./evidence/store.ts";
import { excludedStatus } from "./excluded.ts";
import type { RolloutState } from "./machine.ts";
import type { StageSoaks } from "./stage-verdict.ts";
import { isWaiting, reportedOf } from "./waiting.ts";

type Attempt = Pick<
  AttemptTable,
  "rollout" | "device" | "stage" | "arm" | "outcome" | "gatesJson" | "manifestJson" | "decidedAtMs"
>;

/** Enters who was offered the release: what has not answered yet counts too. */
export async function recordOffers(
  ctx: ControllerContext,
  trx: Database,
  members: readonly RolloutMemberTable[],
): Promise<void> {
  for (const { rollout, device, region, deviceClass, stage, place, arm } of members) {
    if (arm === "control") continue;
    const stratum = stratumOf({ region, deviceClass });
    const first = stage === 0 ? place : null;
    await addEntries(
      trx,
      rollout,
      [{ kind: "offered", device, stratum, place: first }],
      ctx.clock.wallMs(),
    );
  }
}

/** Enters what the outcome of an attempt says; soaks without a length end with it. */
export async function recordOutcome(
  ctx: ControllerContext,
  trx: Database,
  id: string,
  { soakMs }: { soakMs: number },
): Promise<void> {
  const attempt = await trx
    .selectFrom("attempts")
    .innerJoin("rolloutMembers", (join) =>
      join
        .onRef("rolloutMembers.rollout", "=", "attempts.rollout")
        .onRef("rolloutMembers.device", "=", "attempts.device"),
    )
    .selectAll("attempts")
    .select(["rolloutMembers.region", "rolloutMembers.deviceClass"])
    .where("attempts.id", "=", id)
    .executeTakeFirst();
  if (attempt === undefined || attempt.outcome === null) return;
  const stratum = stratumOf(attempt);
  const { rollout, device } = attempt;
  const result = attempt.arm === "control" ? undefined : trialResults.get(attempt.outcome);
  const nowMs = ctx.clock.wallMs();
  if (result !== undefined) {
    await addEntries(trx, rollout, [{ kind: "trial", device, stratum, result }], nowMs);
  }
  const isOver = attempt.outcome === "rolled-back" || attempt.arm === "control" || soakMs === 0;
  if (isOver && attempt.outcome !== "failed") {
    const harmed = attempt.outcome === "rolled-back";
    await endSoak(ctx, trx, { rollout, device, stratum, arm: attempt.arm, harmed });
  }
  await recordPair(ctx, trx, attempt);
}

const trialResults: ReadonlyMap<string, "passed" | "rolled-back" | "failed"> = new Map([
  ["committed", "passed"],
  ["rolled-back", "rolled-back"],
  ["failed", "failed"],
  ["refused", "failed"],
]);

/** A device took back what it had committed: its gates spoke late, and it is harmed. */
export async function recordTakenBack(
  ctx: ControllerContext,
  trx: Database,
  { rollout, device }: { rollout: string; device: string },
): Promise<void> {
  const member = await trx
    .selectFrom("rolloutMembers")
    .select(["region", "deviceClass", "arm"])
    .where("rollout", "=", rollout)
    .where("device", "=", device)
    .executeTakeFirst();
  if (member === undefined || member.arm === "control") return;
  const stratum = stratumOf(member);
  await addEntries(trx, rollout, [{ kind: "taken-back", device, stratum }], ctx.clock.wallMs());
  await endSoak(ctx, trx, { rollout, device, stratum, arm: member.arm, harmed: true });
}

/** One device at the end of its soak; the second of a pair lets the pair speak of harm. */
export async function endSoak(
  ctx: ControllerContext,
  trx: Database,
  soak: { rollout: string; device: string; stratum: string; arm: string; harmed: boolean },
): Promise<void> {
  const { rollout, device, stratum, arm, harmed } = soak;
  const entries: EvidenceEntry[] =
    arm === "control" ? [] : [{ kind: "soaked", device, stratum, harmed }];
  const ended = await trx
    .updateTable("rolloutMembers")
    .set({ soak: harmed ? "harmed" : "well" })
    .where("rollout", "=", rollout)
    .where("device", "=", device)
    .where("soak", "is", null)
    .returning("device")
    .executeTakeFirst();
  if (ended === undefined) return;
  const pair = await pairOf(trx, rollout, device);
  if (pair !== undefined) {
    const other = device === pair.canary ? pair.control : pair.canary;
    const member = await trx
      .selectFrom("rolloutMembers")
      .select("soak")
      .where("rollout", "=", rollout)
      .where("device", "=", other)
      .executeTakeFirst();
    if (member?.soak != null) {
      const its = member.soak === "harmed";
      const [canary, control] = device === pair.canary ? [harmed, its] : [its, harmed];
      entries.push({ kind: "pair-harm", pair: pair.pair, stratum: pair.stratum, canary, control });
    }
  }
  await addEntries(trx, rollout, entries, ctx.clock.wallMs());
}

/** The pair that the device is in, as canary or control. */
export function pairOf(
  trx: Database,
  rollout: string,
  device: string,
): Promise<PairTable | undefined> {
  return trx
    .selectFrom("pairs")
    .selectAll()
    .where("rollout", "=", rollout)
    .where((eb) => eb.or([eb("canary", "=", device), eb("control", "=", device)]))
    .executeTakeFirst();
}

/** The part of a stored manifest that names the golden shard. */
const shardSchema = z.object({
  signed: z.object({
    golden: z.array(z.object({ shard: z.object({ sha256: sha256Schema }) })),
  }),
});

/** Loss on the golden shard against the running model, when the trial came as far as that. */
export function goldenLoss(gatesJson: string | null): number | undefined {
  const gates = z.array(gateResultSchema).parse(JSON.parse(gatesJson ?? "[]"));
  const numbers = gates.find(({ gate }) => gate === "paired-metric")?.numbers;
  const { worse, better, n } = numbers ?? {};
  if (worse === undefined || better === undefined || n === undefined || n === 0) return undefined;
  return (worse - better) / n;
}

/**
 * Both devices of a pair have been through their trials: by how much the canary fell behind. One shard
 * speaks once in a rollout, since devices that run the same samples share the luck of the draw.
 */
async function recordPair(ctx: ControllerContext, trx: Database, attempt: Attempt): Promise<void> {
  const { rollout } = attempt;
  const pair = await pairOf(trx, rollout, attempt.device);
  if (pair === undefined) return;
  const rows = await trx
    .selectFrom("attempts")
    .select(["device", "arm", "gatesJson", "manifestJson"])
    .where("rollout", "=", rollout)
    .where("device", "in", [pair.canary, pair.control])
    .where("outcome", "is not", null)
    .execute();
  const canary = rows.find(({ device, arm }) => device === pair.canary && arm !== "control");
  const control = rows.find(({ device, arm }) => device === pair.control && arm === "control");
  if (canary === undefined || control === undefined) return;
  const [loss, controlLoss] = [goldenLoss(canary.gatesJson), goldenLoss(control.gatesJson)];
  if (loss === undefined || controlLoss === undefined) return;
  const { golden } = shardSchema.parse(JSON.parse(canary.manifestJson)).signed;
  const entry: EvidenceEntry = {
    kind: "pair",
    pair: pair.pair,
    stratum: pair.stratum,
    signal: "golden-metric",
    horizon: 0,
    drop: Math.min(1, Math.max(-1, loss - controlLoss)),
    shard: golden[0]?.shard.sha256 ?? null,
  };
  await addEntries(trx, rollout, [entry], ctx.clock.wallMs());
}

/** Devices that took the release and whose soak is not over. */
export async function openSoaks(trx: Database, rollout: string): Promise<number> {
  const { open } = await trx
    .selectFrom("rolloutMembers")
    .innerJoin("attempts", (join) =>
      join
        .onRef("attempts.rollout", "=", "rolloutMembers.rollout")
        .onRef("attempts.device", "=", "rolloutMembers.device")
        .onRef("attempts.retry", "=", "rolloutMembers.retry"),
    )
    .select((eb) => eb.fn.countAll<number>().as("open"))
    .where("rolloutMembers.rollout", "=", rollout)
    .where("rolloutMembers.status", "!=", excludedStatus)
    .where("rolloutMembers.soak", "is", null)
    .where("attempts.outcome", "=", "committed")
    .executeTakeFirstOrThrow();
  return open;
}

/** Active devices of one stage that committed, by what is known of them since. */
export async function stageSoaks(
  ctx: ControllerContext,
  trx: Database,
  place: { rollout: string; stage: number; soakMs: number; deadlineMs: number },
): Promise<StageSoaks> {
  const { rollout, stage, soakMs, deadlineMs } = place;
  const rows = await trx
    .selectFrom("attempts")
    .innerJoin("devices", "devices.id", "attempts.device")
    .innerJoin("rolloutMembers", (join) =>
      join
        .onRef("rolloutMembers.rollout", "=", "attempts.rollout")
        .onRef("rolloutMembers.device", "=", "attempts.device"),
    )
    .leftJoin("soakReports", (join) =>
      join
        .onRef("soakReports.attempt", "=", "attempts.id")
        .on("soakReports.verdict", "=", "rolled-back"),
    )
    .select(["attempts.decidedAtMs", "devices.id", "devices.lastSeenAtMs", "soakReports.verdict"])
    .where("attempts.rollout", "=", rollout)
    .where("attempts.stage", "=", stage)
    .where("attempts.arm", "!=", "control")
    .where("rolloutMembers.status", "!=", excludedStatus)
    .where("attempts.outcome", "=", "committed")
    .where("devices.standing", "=", "active")
    .execute();
  const ends = rows.map(({ decidedAtMs, verdict, ...device }) => {
    const beganAtMs = decidedAtMs ?? 0;
    if (verdict !== null) return true;
    return soakEnd({
      beganAtMs,
      heardAtMs: lastHeardAtMs(ctx, device),
      soakMs,
      isOverdue: isOverdue(ctx, beganAtMs + soakMs, deadlineMs),
      isWaiting: false,
    });
  });
  return {
    committed: ends.length,
    open: ends.filter((harmed) => harmed === undefined).length,
    harmed: ends.filter((harmed) => harmed === true).length,
  };
}

/** Ends the soaks whose time has come: well when the device was heard of after it, harmed when not. */
export async function settleSoaks(
  ctx: ControllerContext,
  trx: Database,
  rollout: RolloutTable,
  state: RolloutState,
): Promise<void> {
  const rows = await trx
    .selectFrom("rolloutMembers")
    .innerJoin("attempts", (join) =>
      join
        .onRef("attempts.rollout", "=", "rolloutMembers.rollout")
        .onRef("attempts.device", "=", "rolloutMembers.device")
        .onRef("attempts.retry", "=", "rolloutMembers.retry"),
    )
    .innerJoin("devices", "devices.id", "rolloutMembers.device")
    .select([
      "attempts.id",
      "attempts.device",
      "attempts.stage",
      "attempts.arm",
      "attempts.outcome",
      "attempts.createdAtMs",
      "attempts.decidedAtMs",
      "rolloutMembers.region",
      "rolloutMembers.deviceClass",
      "devices.online",
      "devices.lastSeenAtMs",
      "devices.reportedJson",
    ])
    .where("rolloutMembers.rollout", "=", rollout.id)
    // Who was taken back with its stratum ends no soak: neither well nor harmed by what happens now.
    .where("rolloutMembers.status", "!=", excludedStatus)
    .where("rolloutMembers.soak", "is", null)
    .where("devices.standing", "=", "active")
    .where((eb) =>
      eb.or([eb("attempts.status", "=", "offered"), eb("attempts.outcome", "=", "committed")]),
    )
    .execute();
  for (const row of rows) {
    const stage = state.stages[row.stage];
    if (stage === undefined) continue;
    const heardAtMs = lastHeardAtMs(ctx, { id: row.device, lastSeenAtMs: row.lastSeenAtMs });
    const isCommitted = row.outcome === "committed";
    const harmed = soakEnd({
      beganAtMs: isCommitted ? row.decidedAtMs : null,
      heardAtMs,
      soakMs: stage.soakMs,
      isOverdue: isOverdue(
        ctx,
        (row.decidedAtMs ?? row.createdAtMs) + (isCommitted ? stage.soakMs : 0),
        stage.deadlineMs,
      ),
      isWaiting: isWaiting(reportedOf(row.reportedJson), row.id, {
        nowMs: ctx.clock.wallMs(),
        online: row.online === 1,
      }),
    });
    if (harmed === undefined) continue;
    const stratum = stratumOf(row);
    await endSoak(ctx, trx, {
      rollout: rollout.id,
      device: row.device,
      stratum,
      arm: row.arm,
      harmed,
    });
  }
}

function isOverdue(ctx: ControllerContext, sinceMs: number, deadlineMs: number): boolean {
  return waitedMs(ctx, sinceMs, deadlineMs) >= deadlineMs;
}

/** Whether a soak ended with harm; undefined while it goes on. */
export function soakEnd(device: {
  /** Time of the commit; null for a device that has not answered. */
  beganAtMs: number | null;
  /** When the device was heard of last. */
  heardAtMs: number | null;
  soakMs: number;
  /** The deadline after the end of the soak, or after the offer, has passed. */
  isOverdue: boolean;
  /** It said that it waits for its window or the end of a hold. */
  isWaiting: boolean;
}): boolean | undefined {
  const { beganAtMs, heardAtMs, soakMs } = device;
  if (beganAtMs !== null && heardAtMs !== null && heardAtMs >= beganAtMs + soakMs) return false;
  return device.isOverdue && !device.isWaiting ? true : undefined;
}
