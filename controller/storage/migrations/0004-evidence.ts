/** The evidence of rollouts: pairs drawn by lot, and the ledger that only grows. */
import { sql } from "kysely";
import type { Migration } from "../migrate.ts";

export const migration0004: Migration = {
  number: 4,
  name: "evidence",
  async up(db) {
    await db.schema
      .createTable("pairs")
      .addColumn("rollout", "text", (column) => column.notNull())
      .addColumn("pair", "text", (column) => column.notNull())
      .addColumn("stage", "integer", (column) => column.notNull())
      .addColumn("stratum", "text", (column) => column.notNull())
      .addColumn("canary", "text", (column) => column.notNull())
      .addColumn("control", "text", (column) => column.notNull())
      .addPrimaryKeyConstraint("pairsKey", ["rollout", "pair"])
      .addUniqueConstraint("pairsCanary", ["rollout", "canary"])
      .addUniqueConstraint("pairsControl", ["rollout", "control"])
      .execute();
    await db.schema
      .createTable("ledger")
      .addColumn("rollout", "text", (column) => column.notNull())
      .addColumn("sequence", "integer", (column) => column.notNull())
      .addColumn("atMs", "integer", (column) => column.notNull())
      .addColumn("key", "text")
      .addColumn("bodyJson", "text", (column) => column.notNull())
      .addPrimaryKeyConstraint("ledgerKey", ["rollout", "sequence"])
      .addUniqueConstraint("ledgerOnce", ["rollout", "key"])
      .execute();
    for (const change of ["update", "delete"]) {
      await sql`create trigger ${sql.id(`ledgerNo_${change}`)} before ${sql.raw(change)} on ledger
        begin select raise(abort, 'the ledger only grows'); end`.execute(db);
    }
  },
};
