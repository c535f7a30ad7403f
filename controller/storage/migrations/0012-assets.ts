/** A version has files beside its model, such as the tokenizer of one that takes text. */
import { sql } from "kysely";
import type { Migration } from "../migrate.ts";

export const migration0012: Migration = {
  number: 12,
  name: "assets",
  async up(db) {
    await sql`alter table "modelVersions" add column "assetsJson" text not null default '[]'`.execute(
      db,
    );
  },
};
