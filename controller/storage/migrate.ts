/**
 * Brings a database to the newest schema. Numbers only rise, each step is one transaction, and a
 * program that meets a number it does not know refuses to start instead of guessing.
 */
import { type Kysely, sql } from "kysely";
import { FleetError } from "../../shared/errors.ts";
import type { ControllerTables } from "./schema.ts";

export interface Migration {
  readonly number: number;
  readonly name: string;
  up(db: Kysely<unknown>): Promise<void>;
}

/** Applies what is missing. Errors: `database-newer`. */
export async function migrate(
  db: Kysely<ControllerTables>,
  migrations: readonly Migration[],
  nowMs: number,
): Promise<void> {
  await sql`create table if not exists migrations
    (number integer primary key, name text not null, "appliedAtMs" integer not null)`.execute(db);
  const applied = await db.selectFrom("migrations").selectAll().orderBy("number").execute();
  const newest = migrations.at(-1)?.number ?? 0;
  const ahead = applied.find(({ number }) => number > newest);
  if (ahead !== undefined) {
    throw new FleetError(
      "database-newer",
      `the database has schema ${ahead.number} (${ahead.name}); this program knows ${newest}`,
    );
  }
  const done = new Set(applied.map(({ number }) => number));
  for (const step of migrations.filter(({ number }) => !done.has(number))) {
    await db.transaction().execute(async (trx) => {
      await step.up(trx as unknown as Kysely<unknown>);
      await trx
        .insertInto("migrations")
        .values({ number: step.number, name: step.name, appliedAtMs: nowMs })
        .execute();
    });
  }
}
