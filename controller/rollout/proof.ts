/**
 * Proof that a rollback reached a device: it committed the attempt, and what it reported last names that
 * attempt's counter as committed and its hash as served. An outcome alone is a moment, and a report from
 * before the release that is taken back would name the same hash.
 */
import { sql } from "kysely";
import type { Database } from "../storage/database.ts";
import type { RolloutTable } from "../storage/schema.ts";
import type { StageCount, StageVerdict } from "./stage-verdict.ts";

export interface ProofCount {
  readonly proven: number;
  /** Devices that should serve an old bundle again. */
  readonly of: number;
}

export async function proofOf(
  db: Database,
  rollout: Pick<RolloutTable, "id" | "model">,
): Promise<ProofCount> {
  // Names of models have no character that means something in a path.
  const path = `$.models."${rollout.model}"`;
  const counter = sql<number>`json_extract("reportedJson", ${`${path}.committed.releaseCounter`})`;
  const served = sql<string>`json_extract("reportedJson", ${`${path}.servingSha256`})`;
  const row = await db
    .selectFrom("rolloutMembers")
    .innerJoin("devices", "devices.id", "rolloutMembers.device")
    .leftJoin("attempts", (join) =>
      join
        .onRef("attempts.rollout", "=", "rolloutMembers.rollout")
        .onRef("attempts.device", "=", "rolloutMembers.device")
        .onRef("attempts.retry", "=", "rolloutMembers.retry"),
    )
    .select((eb) => [
      eb.fn.countAll<number>().as("of"),
      sql<number>`coalesce(sum(attempts.outcome = 'committed'
        and ${served} = attempts."bundleSha256"
        and ${counter} = attempts."releaseCounter"), 0)`.as("proven"),
    ])
    .where("rolloutMembers.rollout", "=", rollout.id)
    .where("rolloutMembers.status", "not in", ["taken", "gone"])
    .where("devices.standing", "=", "active")
    // Who committed something newer since is no longer this campaign's.
    .where(sql<boolean>`coalesce(${counter} <= attempts."releaseCounter", true)`)
    .executeTakeFirstOrThrow();
  return { proven: row.proven, of: row.of };
}

/**
 * A rollback ends when all are proven. It is never stopped by what devices answer: going back is the
 * remedy. Past its deadline somebody is told who is missing; a later proof still ends it.
 */
export function proofVerdict(
  { proven, of }: ProofCount,
  count: Pick<StageCount, "open" | "pending">,
  late: boolean,
): StageVerdict {
  const why = `${proven} of ${of} devices proven to serve what they served before`;
  if (proven === of) return { kind: "passed", why };
  if (count.open + count.pending > 0 || !late) return { kind: "waiting" };
  return { kind: "inconclusive", why };
}
