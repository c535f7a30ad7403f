/** What devices watch after a commit: their verdicts, their signals, and the labels that they ask for. */
import type { Migration } from "../migrate.ts";

export const migration0005: Migration = {
  number: 5,
  name: "soak",
  async up(db) {
    await db.schema
      .createTable("soakReports")
      .addColumn("attempt", "text", (column) => column.notNull())
      .addColumn("verdict", "text", (column) => column.notNull())
      .addColumn("device", "text", (column) => column.notNull())
      .addColumn("model", "text", (column) => column.notNull())
      .addColumn("version", "text", (column) => column.notNull())
      .addColumn("bundleSha256", "text", (column) => column.notNull())
      .addColumn("code", "text", (column) => column.notNull())
      .addColumn("why", "text", (column) => column.notNull())
      .addColumn("numbersJson", "text", (column) => column.notNull())
      .addColumn("histogramsJson", "text", (column) => column.notNull())
      .addColumn("warningsJson", "text", (column) => column.notNull())
      .addColumn("servingSha256", "text")
      .addColumn("receivedAtMs", "integer", (column) => column.notNull())
      .addPrimaryKeyConstraint("soakReportsKey", ["attempt", "verdict"])
      .execute();
    await db.schema
      .createTable("observations")
      .addColumn("attempt", "text", (column) => column.notNull())
      .addColumn("horizonMs", "integer", (column) => column.notNull())
      .addColumn("device", "text", (column) => column.notNull())
      .addColumn("model", "text", (column) => column.notNull())
      .addColumn("arm", "text", (column) => column.notNull())
      .addColumn("signalsJson", "text", (column) => column.notNull())
      .addColumn("receivedAtMs", "integer", (column) => column.notNull())
      .addPrimaryKeyConstraint("observationsKey", ["attempt", "horizonMs"])
      .execute();
    await db.schema
      .createTable("labelRequests")
      .addColumn("id", "text", (column) => column.primaryKey().notNull())
      .addColumn("attempt", "text", (column) => column.notNull())
      .addColumn("sample", "text", (column) => column.notNull())
      .addColumn("device", "text", (column) => column.notNull())
      .addColumn("model", "text", (column) => column.notNull())
      .addColumn("version", "text", (column) => column.notNull())
      .addColumn("freshIndex", "integer", (column) => column.notNull())
      .addColumn("runningIndex", "integer", (column) => column.notNull())
      .addColumn("inputsJson", "text", (column) => column.notNull())
      .addColumn("status", "text", (column) => column.notNull())
      .addColumn("labelIndex", "integer")
      .addColumn("requestedAtMs", "integer", (column) => column.notNull())
      .addColumn("answeredAtMs", "integer")
      .execute();
    await db.schema
      .createIndex("labelRequestsOfDevice")
      .on("labelRequests")
      .columns(["device", "status"])
      .execute();
  },
};
