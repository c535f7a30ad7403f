/** The controller's database: kysely over the SQLite port, migrated before anyone reads it. */
import { Kysely } from "kysely";
import type { Sqlite } from "../../shared/ports/sqlite.ts";
import { PlannedOnceDialect } from "./dialect.ts";
import { migrate } from "./migrate.ts";
import { migrations } from "./migrations/registry.ts";
import type { ControllerTables } from "./schema.ts";

/** The handle that repositories take first; a transaction has the same type. */
export type Database = Kysely<ControllerTables>;

/** Errors: `database-newer`. */
export async function openDatabase(sqlite: Sqlite, nowMs: number): Promise<Database> {
  const db = new Kysely<ControllerTables>({
    dialect: new PlannedOnceDialect({ database: sqlite }),
  });
  await migrate(db, migrations, nowMs);
  return db;
}
