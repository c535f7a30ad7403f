/** A database of the first release, with rollouts under way, loses nothing on its way to the newest schema. */
import { Kysely, SqliteDialect, sql } from "kysely";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openDatabase } from "../../../../controller/storage/database.ts";
import { migrate } from "../../../../controller/storage/migrate.ts";
import { migrations } from "../../../../controller/storage/migrations/registry.ts";
import type { ControllerTables } from "../../../../controller/storage/schema.ts";
import { openSystemSqlite } from "../../../../shared/adapters/system-sqlite.ts";
import type { Sqlite } from "../../../../shared/ports/sqlite.ts";

let sqlite: Sqlite;
let image: Kysely<ControllerTables>;

const attempts = [
  { id: "a-1", device: "cam-1", status: "decided", outcome: "committed", decidedAtMs: 20 },
  { id: "a-2", device: "cam-2", status: "decided", outcome: "rolled-back", decidedAtMs: 21 },
  { id: "a-3", device: "cam-3", status: "offered", outcome: null, decidedAtMs: null },
  { id: "a-4", device: "cam-4", status: "withdrawn", outcome: null, decidedAtMs: null },
].map((attempt, stage) => ({
  ...attempt,
  rollout: "r-1",
  model: "digits",
  version: "2",
  recipe: "fp16",
  stage,
  arm: "canary",
  bundleSha256: `bundle ${attempt.id}`,
  releaseCounter: 7,
  manifestJson: `{"of":"${attempt.id}"}`,
  code: attempt.outcome === null ? null : "ok",
  why: attempt.outcome === null ? null : `why ${attempt.id}`,
  gatesJson: attempt.outcome === null ? null : "[]",
  servingSha256: attempt.outcome === null ? null : "serving",
  createdAtMs: 10,
}));

async function insert(table: string, rows: readonly Readonly<Record<string, unknown>>[]) {
  for (const row of rows)
    await sql`insert into ${sql.table(table)} (${sql.join(Object.keys(row).map((name) => sql.ref(name)))})
      values (${sql.join(Object.values(row))})`.execute(image);
}

beforeEach(async () => {
  sqlite = openSystemSqlite(":memory:");
  image = new Kysely<ControllerTables>({ dialect: new SqliteDialect({ database: sqlite }) });
  const first = migrations.filter(({ number }) => number <= 2);
  await migrate(image, first, 1);
  await insert(
    "devices",
    attempts.map(({ device }, index) => ({
      id: device,
      publicKeyJson: "{}",
      passwordSha256: "",
      region: index % 2 === 0 ? "eu" : "us",
      labelsJson: "{}",
      deviceClass: index === 3 ? null : "camera",
      profileJson: "{}",
      fingerprint: "",
      emulated: 0,
      agentVersion: "0.1.0",
      standing: "active",
      session: 1,
      online: 1,
      desiredRevision: 3,
      createdAtMs: 0,
    })),
  );
  const state = { releaseCounter: 7, stage: 0, stages: [] };
  await insert("rollouts", [
    {
      id: "r-1",
      model: "digits",
      version: "2",
      status: "running",
      stateJson: JSON.stringify(state),
      createdAtMs: 5,
      updatedAtMs: 6,
    },
  ]);
  await insert("attempts", attempts);
  await insert("desiredModels", [{ device: "cam-3", model: "digits", attempt: "a-3" }]);
  await insert("holds", [{ scope: "tenant", sequence: 4, documentJson: "{}" }]);
});
afterEach(() => image.destroy());

it("keeps every attempt with its outcome, reason and order", async () => {
  const db = await openDatabase(sqlite, 2);
  const kept = await db.selectFrom("attempts").selectAll().orderBy("id").execute();
  expect(kept).toEqual(attempts.map((attempt) => ({ ...attempt, retry: 0 })));
  expect(await db.selectFrom("desiredModels").selectAll().execute()).toEqual([
    { device: "cam-3", model: "digits", attempt: "a-3" },
  ]);
  expect(await db.selectFrom("holds").select("sequence").execute()).toEqual([{ sequence: 4 }]);
});

it("knows who was selected, and the place of a rollout", async () => {
  const db = await openDatabase(sqlite, 2);
  const rollout = await db
    .selectFrom("rollouts")
    .select(["kind", "restores", "releaseCounter", "status"])
    .executeTakeFirstOrThrow();
  expect(rollout).toEqual({
    kind: "release",
    restores: null,
    releaseCounter: 7,
    status: "running",
  });
  const members = await db
    .selectFrom("rolloutMembers")
    .select(["device", "stage", "region", "deviceClass", "status", "retry", "arm", "soak"])
    .orderBy("device")
    .execute();
  const member = { status: "offered", retry: 0, arm: "canary" };
  expect(members).toEqual([
    { ...member, device: "cam-1", stage: 0, region: "eu", deviceClass: "camera", soak: "well" },
    { ...member, device: "cam-2", stage: 1, region: "us", deviceClass: "camera", soak: null },
    { ...member, device: "cam-3", stage: 2, region: "eu", deviceClass: "camera", soak: null },
    { ...member, device: "cam-4", stage: 3, region: "us", deviceClass: "", soak: null },
  ]);
});

it("may try an attempt again, which the first schema did not know, and no try twice", async () => {
  const db = await openDatabase(sqlite, 2);
  const { retry: _retry, ...again } = (await db.selectFrom("attempts").selectAll().execute())[0]!;
  await db
    .insertInto("attempts")
    .values({ ...again, id: "a-1.1", retry: 1 })
    .execute();
  await expect(
    db
      .insertInto("attempts")
      .values({ ...again, id: "a-1.2", retry: 1 })
      .execute(),
  ).rejects.toThrow(/UNIQUE/);
});

it("leaves the first schema whole when a step fails", async () => {
  await sql`update rollouts set "stateJson" = 'no JSON'`.execute(image);
  await expect(openDatabase(sqlite, 2)).rejects.toThrow();
  const { rows } = await sql`select id from attempts order by id`.execute(image);
  expect(rows).toEqual(attempts.map(({ id }) => ({ id })));
  expect(await image.selectFrom("migrations").select("number").execute()).toHaveLength(2);
});
