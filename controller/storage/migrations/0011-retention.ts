/** When a device last had nothing left to send: what lets the marks of its reports be forgotten. */
import { sql } from "kysely";
import type { Migration } from "../migrate.ts";

export const migration0011: Migration = {
  number: 11,
  name: "retention",
  async up(db) {
    await sql`alter table devices add column "outboxEmptyAtMs" integer`.execute(db);
  },
};
