/** Statements that were compiled once run with the arguments of each call, also inside a transaction. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Database, openDatabase } from "../../../../controller/storage/database.ts";
import { prepared } from "../../../../controller/storage/prepared.ts";
import { openSystemSqlite } from "../../../../shared/adapters/system-sqlite.ts";

const raise = prepared((db, { model, by }: { model: string; by: number }) =>
  db
    .insertInto("releaseCounters")
    .values({ model, counter: by })
    .onConflict((conflict) =>
      conflict
        .column("model")
        .doUpdateSet((eb) => ({ counter: eb("releaseCounters.counter", "+", by) })),
    ),
);
const above = prepared((db, { least }: { least: number }) =>
  db
    .selectFrom("releaseCounters")
    .select(["model", "counter"])
    .where("counter", ">=", least)
    .where("model", "!=", "hidden")
    .orderBy("model"),
);

let db: Database;
beforeEach(async () => {
  db = await openDatabase(openSystemSqlite(":memory:"), 1);
});
afterEach(() => db.destroy());

it("use an argument wherever its name stands, beside constants", async () => {
  await raise(db, { model: "a", by: 1 });
  await raise(db, { model: "b", by: 5 });
  await raise(db, { model: "hidden", by: 9 });
  expect((await raise(db, { model: "a", by: 3 })).numAffectedRows).toBe(1n);
  expect((await above(db, { least: 5 })).rows).toEqual([{ model: "b", counter: 5 }]);
  expect((await above(db, { least: 4 })).rows).toEqual([
    { model: "a", counter: 4 },
    { model: "b", counter: 5 },
  ]);
});

it("belong to the transaction that they are run in", async () => {
  const failing = db.transaction().execute(async (trx) => {
    await raise(trx, { model: "a", by: 7 });
    expect((await above(trx, { least: 7 })).rows.length).toBe(1);
    throw new Error("taken back");
  });
  await expect(failing).rejects.toThrow("taken back");
  expect((await above(db, { least: 0 })).rows).toEqual([]);
});
