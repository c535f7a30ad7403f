/** The evidence of a rollout as the API shows it: read from the ledger alone, and computed again. */
import type { EvidenceAnswer, StrataAnswer } from "../../../shared/api/routes/evidence.ts";
import { FleetError } from "../../../shared/errors.ts";
import type { Database } from "../../storage/database.ts";
import { createEvidence } from "./evidence.ts";
import { replay } from "./ledger.ts";
import { ledgerRows } from "./store.ts";
import { falseDiscoveryRate, findStrata } from "./strata.ts";
import type { TestValue } from "./test-value.ts";

/** Errors: `not-found` for a rollout without a ledger. */
export async function evidenceOf(db: Database, rollout: string): Promise<EvidenceAnswer> {
  const { rows, rules, evidence } = await readLedger(db, rollout);
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

/** Errors: `not-found` for a rollout without a ledger. */
export async function strataOf(db: Database, rollout: string): Promise<StrataAnswer> {
  const { evidence } = await readLedger(db, rollout);
  return {
    rollout,
    falseDiscoveryRate,
    strata: findStrata(evidence.strata()).map(({ tests, ...stratum }) => ({
      ...stratum,
      logE: finite(stratum.logE),
      tests: tests.map(({ stratum: _stratum, ...test }) => {
        return { ...test, meanDrop: finite(test.meanDrop), logE: finite(test.logE) };
      }),
    })),
  };
}

async function readLedger(db: Database, rollout: string) {
  const rows = await ledgerRows(db, rollout);
  const [first] = rows;
  if (first?.body.kind !== "rules") {
    throw new FleetError("not-found", `rollout ${rollout} has no ledger`);
  }
  const { rules } = first.body;
  const evidence = createEvidence(rules);
  for (const { body } of rows)
    if (body.kind !== "rules" && body.kind !== "decision") evidence.add(body);
  return { rows, rules, evidence };
}

function shown({ name, stratum, logE, logThreshold }: TestValue) {
  return {
    name,
    stratum: stratum ?? null,
    logE: finite(logE),
    logThreshold,
  };
}

/** JSON has no number for what is infinite. */
function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
