/** Models and their versions; a version is one source file that never changes, with what it needs. */
import type { Selectable } from "kysely";
import { z } from "zod";
import {
  bundleFileSchema,
  type ModelInterface,
  modelInterfaceSchema,
} from "../../../shared/artifact/bundle.ts";
import { FleetError } from "../../../shared/errors.ts";
import type { Database } from "../database.ts";
import type { ModelVersionTable } from "../schema.ts";

const assetSchema = bundleFileSchema.omit({ role: true });

export interface StoredVersion {
  readonly model: string;
  readonly version: string;
  readonly sourceSha256: string;
  readonly sourceBytes: number;
  readonly interface: ModelInterface;
  /** The files that the interface reads. */
  readonly assets: readonly z.infer<typeof assetSchema>[];
  readonly poolSha256: string;
  readonly createdAtMs: number;
}

export async function insertVersion(db: Database, version: StoredVersion): Promise<void> {
  const { interface: modelInterface, assets, ...columns } = version;
  await db
    .insertInto("models")
    .values({ name: version.model, createdAtMs: version.createdAtMs })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  await db
    .insertInto("modelVersions")
    .values({
      ...columns,
      interfaceJson: JSON.stringify(modelInterface),
      assetsJson: JSON.stringify(assets),
    })
    .execute();
}

export async function findVersion(
  db: Database,
  model: string,
  version: string,
): Promise<StoredVersion | undefined> {
  const row = await db
    .selectFrom("modelVersions")
    .selectAll()
    .where("model", "=", model)
    .where("version", "=", version)
    .executeTakeFirst();
  return row === undefined ? undefined : fromRow(row);
}

/** Errors: `not-found`. */
export async function requireVersion(
  db: Database,
  model: string,
  version: string,
): Promise<StoredVersion> {
  const found = await findVersion(db, model, version);
  if (found !== undefined) return found;
  throw new FleetError("not-found", `model ${model} has no version ${version}`);
}

/** Oldest first; of all models when none is named. */
export async function listVersions(db: Database, model?: string): Promise<StoredVersion[]> {
  const rows = await db
    .selectFrom("modelVersions")
    .selectAll()
    .$if(model !== undefined, (query) => query.where("model", "=", model ?? ""))
    .orderBy("model")
    .orderBy("createdAtMs")
    .execute();
  return rows.map(fromRow);
}

function fromRow({
  interfaceJson,
  assetsJson,
  ...columns
}: Selectable<ModelVersionTable>): StoredVersion {
  return {
    ...columns,
    interface: modelInterfaceSchema.parse(JSON.parse(interfaceJson)),
    assets: z.array(assetSchema).parse(JSON.parse(assetsJson)),
  };
}
