/** A program that meets a database of a newer one refuses to start and leaves it as it was. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { migrateAgentDatabase } from "../../../../agent/state/schema.ts";
import { openDatabase } from "../../../../controller/storage/database.ts";
import { openSystemSqlite } from "../../../../shared/adapters/system-sqlite.ts";

const folder = mkdtempSync(join(tmpdir(), "fleetfit-newer-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("controller", async () => {
  const path = join(folder, "controller.db");
  const db = await openDatabase(openSystemSqlite(path), 1);
  const newer = { number: 9_999, name: "from-the-future", appliedAtMs: 1 };
  await db.insertInto("migrations").values(newer).execute();
  await db.destroy();
  const again = openSystemSqlite(path);
  await expect(openDatabase(again, 2)).rejects.toMatchObject({ code: "database-newer" });
  expect(again.prepare("select count(*) as n from migrations where number = 9999").get()).toEqual({
    n: 1,
  });
  again.close();
});

it("agent", () => {
  const sqlite = openSystemSqlite(join(folder, "agent.db"));
  migrateAgentDatabase(sqlite);
  migrateAgentDatabase(sqlite);
  sqlite.exec("pragma user_version = 9999");
  expect(() => migrateAgentDatabase(sqlite)).toThrow(
    expect.objectContaining({ code: "database-newer" }),
  );
  expect(sqlite.prepare("pragma user_version").get()).toEqual({ user_version: 9_999 });
  sqlite.close();
});
