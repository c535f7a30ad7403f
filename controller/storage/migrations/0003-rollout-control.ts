/**
 * Control of rollouts: who was selected for which stage, attempts that are tried again, the kind and the
 * place in order of a rollout. Breaking: older programs know one attempt per device and rollout.
 */
import { type Kysely, sql } from "kysely";
import type { Migration } from "../migrate.ts";

export const migration0003: Migration = {
  number: 3,
  name: "rollout-control",
  async up(db) {
    await orderRollouts(db);
    await allowRetries(db);
    await createMembers(db);
  },
};

async function orderRollouts(db: Kysely<unknown>): Promise<void> {
  await sql`alter table rollouts add column kind text not null default 'release'`.execute(db);
  await sql`alter table rollouts add column restores text`.execute(db);
  await sql`alter table rollouts add column "releaseCounter" integer not null default 0`.execute(
    db,
  );
  await sql`update rollouts set "releaseCounter" = json_extract("stateJson", '$.releaseCounter')`.execute(
    db,
  );
}

/** SQLite cannot drop a constraint: the table is made again with `retry` in its key. */
async function allowRetries(db: Kysely<unknown>): Promise<void> {
  await sql`alter table attempts rename to "attemptsBefore"`.execute(db);
  await db.schema
    .createTable("attempts")
    .addColumn("id", "text", (column) => column.primaryKey().notNull())
    .addColumn("rollout", "text", (column) => column.notNull())
    .addColumn("device", "text", (column) => column.notNull())
    .addColumn("retry", "integer", (column) => column.notNull())
    .addColumn("model", "text", (column) => column.notNull())
    .addColumn("version", "text", (column) => column.notNull())
    .addColumn("recipe", "text", (column) => column.notNull())
    .addColumn("stage", "integer", (column) => column.notNull())
    .addColumn("arm", "text", (column) => column.notNull())
    .addColumn("bundleSha256", "text", (column) => column.notNull())
    .addColumn("releaseCounter", "integer", (column) => column.notNull())
    .addColumn("manifestJson", "text", (column) => column.notNull())
    .addColumn("status", "text", (column) => column.notNull())
    .addColumn("outcome", "text")
    .addColumn("code", "text")
    .addColumn("why", "text")
    .addColumn("gatesJson", "text")
    .addColumn("servingSha256", "text")
    .addColumn("createdAtMs", "integer", (column) => column.notNull())
    .addColumn("decidedAtMs", "integer")
    .addUniqueConstraint("attemptsOnce", ["rollout", "device", "model", "retry"])
    .execute();
  await sql`insert into attempts
    (id, rollout, device, retry, model, version, recipe, stage, arm, "bundleSha256", "releaseCounter",
     "manifestJson", status, outcome, code, why, "gatesJson", "servingSha256", "createdAtMs", "decidedAtMs")
    select id, rollout, device, 0, model, version, recipe, stage, arm, "bundleSha256", "releaseCounter",
     "manifestJson", status, outcome, code, why, "gatesJson", "servingSha256", "createdAtMs", "decidedAtMs"
    from "attemptsBefore"`.execute(db);
  await sql`drop table "attemptsBefore"`.execute(db);
  await db.schema
    .createIndex("attemptsDevice")
    .on("attempts")
    .columns(["device", "status"])
    .execute();
  await db.schema
    .createIndex("attemptsRollout")
    .on("attempts")
    .columns(["rollout", "stage", "outcome"])
    .execute();
}

async function createMembers(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable("rolloutMembers")
    .addColumn("rollout", "text", (column) => column.notNull())
    .addColumn("device", "text", (column) => column.notNull())
    .addColumn("stage", "integer", (column) => column.notNull())
    .addColumn("place", "integer", (column) => column.notNull())
    .addColumn("region", "text", (column) => column.notNull())
    .addColumn("deviceClass", "text", (column) => column.notNull())
    .addColumn("status", "text", (column) => column.notNull())
    .addColumn("retry", "integer", (column) => column.notNull())
    .addColumn("notBeforeMs", "integer", (column) => column.notNull())
    .addPrimaryKeyConstraint("rolloutMembersKey", ["rollout", "device"])
    .execute();
  await sql`insert into "rolloutMembers"
    (rollout, device, stage, place, region, "deviceClass", status, retry, "notBeforeMs")
    select a.rollout, a.device, a.stage, 0, d.region, coalesce(d."deviceClass", ''), 'offered', 0, 0
    from attempts a join devices d on d.id = a.device`.execute(db);
  await db.schema
    .createIndex("rolloutMembersNext")
    .on("rolloutMembers")
    .columns(["rollout", "status", "region", "place"])
    .execute();
  await db.schema
    .createIndex("rolloutMembersDevice")
    .on("rolloutMembers")
    .columns(["device"])
    .execute();
}
