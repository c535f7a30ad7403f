/** Variants of a version as the API shows them. */

import { type Evaluation, evaluationSchema } from "../../shared/api/evaluation.ts";
import type { ControllerContext } from "../context.ts";

export interface VariantView {
  readonly recipe: string;
  readonly status: string;
  readonly reason: string | null;
  readonly bundleSha256: string | null;
  readonly modelSha256: string | null;
  readonly modelBytes: number | null;
  readonly opset: number | null;
  readonly evaluation: Evaluation | null;
  readonly createdAtMs: number;
}

export async function listVariants(
  ctx: ControllerContext,
  { model, version }: { model: string; version: string },
): Promise<VariantView[]> {
  const rows = await ctx.db
    .selectFrom("variants")
    .selectAll()
    .where("model", "=", model)
    .where("version", "=", version)
    .orderBy("recipe")
    .execute();
  return rows.map((row) => ({
    recipe: row.recipe,
    status: row.status,
    reason: row.reason,
    bundleSha256: row.bundleSha256,
    modelSha256: row.modelSha256,
    modelBytes: row.modelBytes,
    opset: row.opset,
    evaluation:
      row.evaluationJson === null ? null : evaluationSchema.parse(JSON.parse(row.evaluationJson)),
    createdAtMs: row.createdAtMs,
  }));
}
