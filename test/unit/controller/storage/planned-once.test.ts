/** What the way in which parameters are written rests on (`controller/storage/dialect.ts`). */
import { expect, it } from "vitest";
import { openDatabase } from "../../../../controller/storage/database.ts";
import { openSystemSqlite } from "../../../../shared/adapters/system-sqlite.ts";

it("no index is partial, since only a bare parameter could choose one", async () => {
  const sqlite = openSystemSqlite(":memory:");
  const db = await openDatabase(sqlite, 1);
  const indexes = sqlite
    .prepare("select name, sql from sqlite_master where type = 'index' and sql is not null")
    .all() as { name: string; sql: string }[];
  expect(indexes.length).toBeGreaterThanOrEqual(10);
  expect(indexes.filter(({ sql }) => /\bwhere\b/i.test(sql))).toEqual([]);
  await db.destroy();
});
