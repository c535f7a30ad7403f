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
  const { rows, rules, evidence, reasons } = await readLedger(db, rollout);
  const excluded = new Set(reasons.keys());
  const times = new Map(rows.map(({ sequence, atMs }) => [sequence, atMs]));
  const { offered, trials, soaked, pairs } = evidence.counts();
  return {
    rollout,
    rules: { ...rules },
    offered,
    ...trials,
    ...soaked,
    pairs,
    signals: evidence.series(excluded).map(({ test, promotes, meanDrop, ...series }) => ({
      ...series,
      meanDrop: finite(meanDrop),
      logE: test === undefined ? null : finite(test.logE),
      logThreshold: test?.logThreshold ?? null,
      promotes,
    })),
    stopping: evidence.stopping(excluded).map(shown),
    promoting: evidence.promoting().map(shown),
    decisions: replay(rows).map(({ sequence, stored, same }) => ({
      sequence,
      atMs: times.get(sequence) ?? 0,
      stage: stored.stage,
      verdict: stored.verdict,
      stratum: stored.stratum,
      why: stored.why,
      replays: same,
    })),
  };
}

/** Errors: `not-found` for a rollout without a ledger. */
export async function strataOf(db: Database, rollout: string): Promise<StrataAnswer> {
  const { evidence, reasons } = await readLedger(db, rollout);
  return {
    rollout,
    falseDiscoveryRate,
    strata: findStrata(evidence.strata()).map(({ tests, ...stratum }) => ({
      ...stratum,
      excluded: reasons.get(stratum.stratum) ?? null,
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
  /** Why strata were taken back alone. */
  const reasons = new Map<string, string>();
  for (const { body } of rows) {
    if (body.kind === "decision") {
      if (body.stratum !== null) reasons.set(body.stratum, body.why);
    } else if (body.kind !== "rules") evidence.add(body);
  }
  return { rows, rules, evidence, reasons };
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
