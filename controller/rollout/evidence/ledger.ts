/**
 * The ledger of a rollout: its rules, every entry of evidence and every decision, in the order in which
 * they came. Whoever has the ledger can compute each decision again and compare.
 */
import { z } from "zod";
import { canonicalJson } from "../../../shared/artifact/canonical-json.ts";
import { sha256Hex } from "../../../shared/artifact/hash.ts";
import { type EvidenceEntry, entryKey, evidenceEntrySchema } from "./entry.ts";
import { createEvidence, type Evidence } from "./evidence.ts";
import { type EvidenceVerdict, judge, type StageStanding } from "./judge.ts";
import { type EvidenceRules, evidenceRulesSchema } from "./rules.ts";
import type { TestValue } from "./test-value.ts";

const standingSchema = z.object({
  open: z.int().min(0),
  shareAfterNext: z.number().min(0).max(1),
  overdue: z.boolean(),
  excluded: z.array(z.string()).default([]),
});

const testSchema = z.object({
  name: z.string(),
  stratum: z.string().optional(),
  /** null stands for an infinite value, which JSON has no number for. */
  logE: z.number().nullable(),
  logThreshold: z.number(),
});

const decisionSchema = z.object({
  kind: z.literal("decision"),
  stage: z.int().min(0),
  standing: standingSchema,
  verdict: z.enum(["roll-back", "promote", "expand", "waiting", "inconclusive"]),
  /** The one that is rolled back alone; null for the whole rollout. */
  stratum: z.string().nullable().default(null),
  why: z.string(),
  stopping: z.array(testSchema),
  promoting: z.array(testSchema),
});
export type Decision = z.infer<typeof decisionSchema>;

/** What one row of the ledger says. */
export const ledgerBodySchema = z.union([
  z.object({ kind: z.literal("rules"), rules: evidenceRulesSchema }),
  evidenceEntrySchema,
  decisionSchema,
]);
export type LedgerBody = z.infer<typeof ledgerBodySchema>;

export interface LedgerRow {
  readonly sequence: number;
  readonly body: LedgerBody;
}

/** Rows with the same key say the same thing, and the first one stands. */
export function ledgerKey(body: Exclude<LedgerBody, Decision>): string {
  return body.kind === "rules" ? "rules" : entryKey(body);
}

export function decide(
  rules: EvidenceRules,
  evidence: Evidence,
  { stage, standing }: { stage: number; standing: StageStanding },
): { verdict: EvidenceVerdict; decision: Decision } {
  const verdict = judge(rules, evidence, standing);
  const decision: Decision = {
    kind: "decision",
    stage,
    standing: { ...standing, excluded: [...standing.excluded] },
    verdict: verdict.kind,
    stratum: (verdict.kind === "roll-back" ? verdict.stratum : undefined) ?? null,
    why: verdict.why,
    stopping: evidence.stopping(new Set(standing.excluded)).map(storable),
    promoting: evidence.promoting().map(storable),
  };
  return { verdict, decision };
}

const storable = ({ logE, series: _series, finding: _finding, ...test }: TestValue) => {
  return { ...test, logE: Number.isFinite(logE) ? logE : null };
};

export interface ReplayedDecision {
  readonly sequence: number;
  readonly stored: Decision;
  /** What the same entries come to now. */
  readonly computed: Decision;
  readonly same: boolean;
}

/** Computes every decision again from the rows before it. Throws without rules in the first row. */
export function replay(rows: readonly LedgerRow[]): ReplayedDecision[] {
  const [first] = rows;
  if (first?.body.kind !== "rules") throw new Error("a ledger begins with its rules");
  const { rules } = first.body;
  const evidence = createEvidence(rules);
  return rows.slice(1).flatMap(({ sequence, body }) => {
    if (body.kind === "rules") throw new Error("a ledger has its rules once");
    if (body.kind !== "decision") {
      evidence.add(body satisfies EvidenceEntry);
      return [];
    }
    const computed = decide(rules, evidence, body).decision;
    const same = hashOf(computed) === hashOf(body);
    return [{ sequence, stored: body, computed, same }];
  });
}

/** Of everything but the words, which another version may choose otherwise. */
const hashOf = ({ why: _why, ...values }: Decision) => sha256Hex(canonicalJson(values));
