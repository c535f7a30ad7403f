/**
 * Proof that a rollback reached a device: what it reported last is the hash that its manifest ordered. An
 * outcome alone is a moment; this is what is served now.
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
  const path = `$.models."${rollout.model}".servingSha256`;
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
      sql<number>`coalesce(sum(json_extract("reportedJson", ${path}) = attempts."bundleSha256"), 0)`.as(
        "proven",
      ),
    ])
    .where("rolloutMembers.rollout", "=", rollout.id)
    .where("rolloutMembers.status", "not in", ["taken", "gone"])
    .where("devices.standing", "=", "active")
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
