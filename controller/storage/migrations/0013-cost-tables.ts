/** What operators cost on devices, as they were asked, and the shapes from which a variant's time is foretold. */
import { sql } from "kysely";
import type { Migration } from "../migrate.ts";

export const migration0013: Migration = {
  number: 13,
  name: "cost-tables",
  async up(db) {
    await db.schema
      .createTable("costTables")
      .addColumn("id", "text", (column) => column.primaryKey().notNull())
      .addColumn("device", "text", (column) => column.notNull())
      .addColumn("orderJson", "text", (column) => column.notNull())
      .addColumn("status", "text", (column) => column.notNull())
      .addColumn("failureJson", "text")
      .addColumn("fingerprint", "text")
      .addColumn("tableJson", "text")
      .addColumn("emulated", "integer")
      .addColumn("degraded", "integer")
      .addColumn("createdAtMs", "integer", (column) => column.notNull())
      .addColumn("finishedAtMs", "integer")
      .execute();
    await db.schema
      .createIndex("costTablesDevice")
      .on("costTables")
      .columns(["device", "status"])
      .execute();
    await db.schema
      .createIndex("costTablesFingerprint")
      .on("costTables")
      .columns(["fingerprint"])
      .execute();
    await sql`alter table variants add column "shapesJson" text`.execute(db);
  },
};
