/** Members of a rollout have an arm, and their soak an end. */
import { sql } from "kysely";
import type { Migration } from "../migrate.ts";

export const migration0006: Migration = {
  number: 6,
  name: "arms",
  async up(db) {
    await sql`alter table "rolloutMembers" add column arm text not null default 'canary'`.execute(
      db,
    );
    await sql`alter table "rolloutMembers" add column soak text`.execute(db);
    // What older programs decided is over.
    await sql`update "rolloutMembers" set soak = 'well' where exists (select 1 from attempts a
      where a.rollout = "rolloutMembers".rollout and a.device = "rolloutMembers".device
      and a.outcome = 'committed')`.execute(db);
  },
};
