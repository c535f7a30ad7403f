/** The evidence of a rollout as the API shows it: read from the ledger alone, and computed again. */
import type { EvidenceAnswer } from "../../../shared/api/routes/evidence.ts";
import { FleetError } from "../../../shared/errors.ts";
import type { Database } from "../../storage/database.ts";
import { createEvidence } from "./evidence.ts";
import { replay } from "./ledger.ts";
import { ledgerRows } from "./store.ts";
import type { TestValue } from "./test-value.ts";

/** Errors: `not-found` for a rollout without a ledger. */
export async function evidenceOf(db: Database, rollout: string): Promise<EvidenceAnswer> {
  const rows = await ledgerRows(db, rollout);
  const [first] = rows;
  if (first?.body.kind !== "rules") {
    throw new FleetError("not-found", `rollout ${rollout} has no ledger`);
  }
  const { rules } = first.body;
  const evidence = createEvidence(rules);
  for (const { body } of rows)
    if (body.kind !== "rules" && body.kind !== "decision") evidence.add(body);
  const times = new Map(rows.map(({ sequence, atMs }) => [sequence, atMs]));
  const { offered, trials, soaked, pairs } = evidence.counts();
  return {
    rollout,
    rules: { ...rules },
    offered,
    ...trials,
    ...soaked,
    pairs,
    stopping: evidence.stopping().map(shown),
    promoting: evidence.promoting().map(shown),
    decisions: replay(rows).map(({ sequence, stored, same }) => ({
      sequence,
      atMs: times.get(sequence) ?? 0,
      stage: stored.stage,
      verdict: stored.verdict,
      why: stored.why,
      replays: same,
    })),
  };
}

function shown({ name, stratum, logE, logThreshold }: TestValue) {
  return {
    name,
    stratum: stratum ?? null,
    logE: Number.isFinite(logE) ? logE : null,
    logThreshold,
  };
}
