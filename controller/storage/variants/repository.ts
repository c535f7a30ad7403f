/** Variants: what each recipe made of a version, and what the controller found out about it. */
import { type Evaluation, evaluationSchema } from "../../../shared/api/evaluation.ts";
import type { Database } from "../database.ts";

export type VariantStatus = "ready" | "not-applicable" | "failed";

export interface StoredVariant {
  readonly id: string;
  readonly model: string;
  readonly version: string;
  readonly recipe: string;
  readonly recipeSha256: string;
  readonly status: VariantStatus;
  /** Why there is no file, in words. */
  readonly reason: string | null;
  readonly bundleSha256: string | null;
  /** Length of the descriptor; the files come on top. */
  readonly bundleBytes: number | null;
  readonly modelSha256: string | null;
  readonly modelBytes: number | null;
  readonly opset: number | null;
  readonly evaluation: Evaluation | null;
  readonly createdAtMs: number;
}

export interface StoredReference {
  readonly shardSha256: string;
  readonly sha256: string;
  readonly bytes: number;
}

/** Replaces the variant of the same recipe. */
export async function upsertVariant(db: Database, variant: StoredVariant): Promise<void> {
  const { evaluation, ...columns } = variant;
  const row = {
    ...columns,
    evaluationJson: evaluation === null ? null : JSON.stringify(evaluation),
  };
  await db
    .insertInto("variants")
    .values(row)
    .onConflict((conflict) => conflict.columns(["model", "version", "recipe"]).doUpdateSet(row))
    .execute();
}

export async function insertReferences(
  db: Database,
  bundleSha256: string,
  references: readonly StoredReference[],
): Promise<void> {
  if (references.length === 0) return;
  await db
    .insertInto("referenceOutputs")
    .values(references.map((reference) => ({ bundleSha256, ...reference })))
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

export async function listVariants(
  db: Database,
  model: string,
  version: string,
): Promise<StoredVariant[]> {
  const rows = await db
    .selectFrom("variants")
    .selectAll()
    .where("model", "=", model)
    .where("version", "=", version)
    .orderBy("recipe")
    .execute();
  return rows.map(fromRow);
}

function fromRow(
  row: Omit<StoredVariant, "evaluation" | "status"> & {
    status: string;
    evaluationJson: string | null;
  },
): StoredVariant {
  const { evaluationJson, status, ...columns } = row;
  return {
    ...columns,
    status: status as VariantStatus,
    evaluation: evaluationJson === null ? null : evaluationSchema.parse(JSON.parse(evaluationJson)),
  };
}
