/** Holds: the newest signed document of each scope. Additive. */
import type { Migration } from "../migrate.ts";

export const migration0002: Migration = {
  number: 2,
  name: "holds",
  async up(db) {
    await db.schema
      .createTable("holds")
      .addColumn("scope", "text", (column) => column.primaryKey().notNull())
      .addColumn("sequence", "integer", (column) => column.notNull())
      .addColumn("documentJson", "text", (column) => column.notNull())
      .execute();
  },
};
