/** Which variant a class gets, and why the others lost. */
import { z } from "zod";
import { type ChoiceReason, choiceReasonSchema } from "../../../shared/api/evaluation.ts";
import type { Database } from "../database.ts";

export interface StoredChoice {
  readonly model: string;
  readonly version: string;
  readonly deviceClass: string;
  readonly bundleSha256: string | null;
  readonly recipe: string | null;
  readonly reasons: readonly ChoiceReason[];
  readonly emulated: boolean;
  readonly createdAtMs: number;
}

export async function upsertChoice(db: Database, choice: StoredChoice): Promise<void> {
  const { reasons, emulated, ...columns } = choice;
  const row = { ...columns, emulated: Number(emulated), reasonsJson: JSON.stringify(reasons) };
  await db
    .insertInto("choices")
    .values(row)
    .onConflict((conflict) =>
      conflict.columns(["model", "version", "deviceClass"]).doUpdateSet(row),
    )
    .execute();
}

export async function listChoices(
  db: Database,
  model: string,
  version: string,
): Promise<StoredChoice[]> {
  const rows = await db
    .selectFrom("choices")
    .selectAll()
    .where("model", "=", model)
    .where("version", "=", version)
    .orderBy("deviceClass")
    .execute();
  return rows.map(({ reasonsJson, emulated, ...columns }) => ({
    ...columns,
    emulated: emulated === 1,
    reasons: z.array(choiceReasonSchema).parse(JSON.parse(reasonsJson)),
  }));
}
