/** What watches a bundle after its rollout: one detector per rollout, bundle and region. */
import type { Migration } from "../migrate.ts";

export const migration0007: Migration = {
  number: 7,
  name: "detectors",
  async up(db) {
    await db.schema
      .createTable("detectors")
      .addColumn("rollout", "text", (column) => column.notNull())
      .addColumn("bundleSha256", "text", (column) => column.notNull())
      .addColumn("region", "text", (column) => column.notNull())
      .addColumn("shareBefore", "real", (column) => column.notNull())
      .addColumn("shareMax", "real", (column) => column.notNull())
      .addColumn("windows", "integer", (column) => column.notNull())
      .addColumn("shareSum", "real", (column) => column.notNull())
      .addColumn("logDetectorsJson", "text", (column) => column.notNull())
      .addColumn("alarmedAtMs", "integer")
      .addColumn("message", "text")
      .addPrimaryKeyConstraint("detectorsKey", ["rollout", "bundleSha256", "region"])
      .execute();
  },
};
