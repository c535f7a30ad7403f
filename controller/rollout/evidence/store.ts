/**
 * The ledger in the database. Its rows are only ever added: triggers refuse everything else.
 *
 * Invariant: rows of one rollout are numbered from 0 without gaps, in the order of their transactions.
 */
import type { Database } from "../../storage/database.ts";
import { prepared } from "../../storage/prepared.ts";
import type { EvidenceEntry } from "./entry.ts";
import { createEvidence, type Evidence } from "./evidence.ts";
import { type Decision, type LedgerRow, ledgerBodySchema, ledgerKey } from "./ledger.ts";
import type { EvidenceRules } from "./rules.ts";

export async function openLedger(
  trx: Database,
  rollout: string,
  rules: EvidenceRules,
  atMs: number,
): Promise<void> {
  const body = { kind: "rules", rules } as const;
  await insert(trx, { rollout, atMs, key: ledgerKey(body), bodyJson: JSON.stringify(body) });
}

/** Adds what is new; what the ledger knows already is left out. */
export async function addEntries(
  trx: Database,
  rollout: string,
  entries: readonly EvidenceEntry[],
  atMs: number,
): Promise<void> {
  for (const entry of entries) {
    await insert(trx, { rollout, atMs, key: ledgerKey(entry), bodyJson: JSON.stringify(entry) });
  }
}

export async function addDecision(
  trx: Database,
  rollout: string,
  decision: Decision,
  atMs: number,
): Promise<void> {
  await insert(trx, { rollout, atMs, key: null, bodyJson: JSON.stringify(decision) });
}

type NewRow = { rollout: string; atMs: number; key: string | null; bodyJson: string };

const insert = prepared((db, { rollout, atMs, key, bodyJson }: NewRow) =>
  db
    .insertInto("ledger")
    .values((eb) => ({
      ...{ rollout, atMs, key, bodyJson },
      sequence: eb
        .selectFrom("ledger")
        .where("rollout", "=", rollout)
        .select((inner) =>
          inner.fn.coalesce(inner(inner.fn.max("sequence"), "+", 1), inner.lit(0)).as("next"),
        ),
    }))
    .onConflict((conflict) => conflict.columns(["rollout", "key"]).doNothing()),
);

/** Rows from `after` on, at most `limit`. */
export async function ledgerRows(
  trx: Database,
  rollout: string,
  page: { after: number; limit?: number } = { after: -1 },
): Promise<(LedgerRow & { readonly atMs: number })[]> {
  const rows = await trx
    .selectFrom("ledger")
    .select(["sequence", "atMs", "bodyJson"])
    .where("rollout", "=", rollout)
    .where("sequence", ">", page.after)
    .orderBy("sequence")
    .$if(page.limit !== undefined, (query) => query.limit(page.limit ?? 0))
    .execute();
  return rows.map(({ sequence, atMs, bodyJson }) => ({
    sequence,
    atMs,
    body: ledgerBodySchema.parse(JSON.parse(bodyJson)),
  }));
}

interface Known {
  readonly rules: EvidenceRules;
  readonly evidence: Evidence;
  sequence: number;
}

/**
 * Evidence of rollouts under way, kept in memory between looks: a fleet of ten thousand devices makes tens
 * of thousands of rows, which each look then reads once.
 */
export interface EvidenceCache {
  /** Undefined for a rollout without a ledger. */
  of(
    trx: Database,
    rollout: string,
  ): Promise<{ rules: EvidenceRules; evidence: Evidence } | undefined>;
  /** Devices that were offered the release, as far as it was read; 0 for a rollout that was not. */
  offered(rollout: string): number;
  /** After a transaction that failed, what it read may not be there. */
  forget(rollout: string): void;
}

export function createEvidenceCache(): EvidenceCache {
  const cache = new Map<string, Known>();
  return {
    async of(trx, rollout) {
      const before = cache.get(rollout);
      const rows = await ledgerRows(trx, rollout, { after: before?.sequence ?? -1 });
      const [first] = rows;
      const known =
        before ??
        (first?.body.kind === "rules"
          ? { rules: first.body.rules, evidence: createEvidence(first.body.rules), sequence: -1 }
          : undefined);
      if (known === undefined) return undefined;
      for (const { sequence, body } of rows) {
        if (body.kind !== "rules" && body.kind !== "decision") known.evidence.add(body);
        known.sequence = sequence;
      }
      cache.set(rollout, known);
      return known;
    },
    offered: (rollout) => cache.get(rollout)?.evidence.counts().offered ?? 0,
    forget: (rollout) => {
      cache.delete(rollout);
    },
  };
}
