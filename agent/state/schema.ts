/** The agent's database, as numbered steps that are never edited after a release. */
import { FleetError } from "../../shared/errors.ts";
import type { Sqlite } from "../../shared/ports/sqlite.ts";

const steps: readonly string[] = [
  `create table settings (key text primary key, value text not null) without rowid;
   create table models (
     name text primary key,
     committedSlot text,
     releaseCounterHighest integer not null
   ) without rowid;
   create table slots (
     model text not null,
     slot text not null,
     status text not null,
     bundleSha256 text,
     version text,
     recipe text,
     releaseCounter integer,
     primary key (model, slot)
   ) without rowid;
   create table attempts (
     id text primary key,
     model text not null,
     manifestJson text not null,
     state text not null,
     resumes integer not null,
     steps integer not null,
     gatesJson text not null,
     outcomeJson text,
     number integer not null
   ) without rowid;
   create table transfers (
     sha256 text primary key,
     totalBytes integer not null,
     present blob not null
   ) without rowid;
   create table measurements (id text primary key) without rowid;
   create table outbox (
     boot text not null,
     sequence integer not null,
     message text not null,
     priority integer not null,
     bytes blob not null,
     number integer not null,
     primary key (boot, sequence)
   ) without rowid;
   create index outboxOrder on outbox (priority, number);`,
  // What was measured is sent again to a controller that forgot it, e.g. after a restore.
  `alter table measurements add column resultJson text;`,
  // Holds outlive restarts, and so does what an update has waited for its window.
  `create table holds (
     scope text primary key,
     sequence integer not null,
     held integer not null,
     reason text not null,
     documentJson text not null
   ) without rowid;
   alter table attempts add column waitedMs real not null default 0;`,
  // What a trial found out so far, so that a power cut neither loses nor repeats a look.
  `create table pairedLooks (
     freshSha256 text not null,
     oldSha256 text not null,
     shardSha256 text not null,
     worse integer not null,
     better integer not null,
     number integer not null,
     primary key (freshSha256, oldSha256, shardSha256)
   ) without rowid;
   alter table attempts add column looks integer not null default 0;`,
  // The watch after a commit goes on after a power cut; a slot keeps the limits of its bundle.
  `create table soaks (
     model text primary key,
     attempt text not null,
     factsJson text not null,
     countsJson text not null
   ) without rowid;
   create table soakSamples (
     attempt text not null,
     sample text not null,
     model text not null,
     freshIndex integer not null,
     runningIndex integer not null,
     answered integer not null,
     primary key (attempt, sample)
   ) without rowid;
   create table servingSpans (
     model text not null,
     startedMs real not null,
     endedMs real not null,
     spanJson text not null,
     primary key (model, startedMs)
   ) without rowid;
   alter table slots add column limitsJson text;`,
  // Spans tell bundles apart; what older agents counted may be of several, and is nobody's fault.
  `drop table servingSpans;
   create table servingSpans (
     model text not null,
     bundleSha256 text not null,
     startedMs real not null,
     endedMs real not null,
     spanJson text not null,
     primary key (model, bundleSha256, startedMs)
   ) without rowid;`,
];

/** Errors: `database-newer` when a newer agent wrote the file. */
export function migrateAgentDatabase(sqlite: Sqlite): void {
  const row = sqlite.prepare("pragma user_version").get() as { user_version: number };
  if (row.user_version > steps.length) {
    throw new FleetError(
      "database-newer",
      `the agent's database has schema ${row.user_version}; this agent knows ${steps.length}`,
    );
  }
  for (let number = row.user_version; number < steps.length; number++) {
    sqlite.transaction(() => {
      sqlite.exec(steps[number]!);
      sqlite.exec(`pragma user_version = ${number + 1}`);
    });
  }
}
