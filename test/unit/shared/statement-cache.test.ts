/** Statements that are prepared once: as many as are used, never more than fit. */
import { expect, it } from "vitest";
import { cachedStatements } from "../../../shared/adapters/statement-cache.ts";
import type { SqliteStatement } from "../../../shared/ports/sqlite.ts";

function counted() {
  const prepared: string[] = [];
  const prepare = cachedStatements((sql) => {
    prepared.push(sql);
    return { sql } as unknown as SqliteStatement;
  });
  return { prepared, prepare };
}

it("prepares a text once and tells texts apart", () => {
  const { prepared, prepare } = counted();
  expect(prepare("select 1")).toBe(prepare("select 1"));
  expect(prepare("select 2")).not.toBe(prepare("select 1"));
  expect(prepared).toEqual(["select 1", "select 2"]);
});

it("keeps no text that is long", () => {
  const { prepared, prepare } = counted();
  const long = `select ${"1,".repeat(1_000)}1`;
  prepare(long);
  prepare(long);
  expect(prepared).toHaveLength(2);
});

it("keeps what is used, and lets go of what was not while many others came", () => {
  const { prepared, prepare } = counted();
  const times = (sql: string) => prepared.filter((one) => one === sql).length;
  prepare("select 'seldom'");
  for (let at = 0; at < 600; at++) {
    prepare(`select ${at}`);
    prepare("select 'often'");
  }
  expect(times("select 'often'")).toBe(1);
  // What was prepared lately is still there.
  prepare("select 599");
  prepare("select 400");
  expect([times("select 599"), times("select 400")]).toEqual([1, 1]);
  prepare("select 'seldom'");
  expect(times("select 'seldom'")).toBe(2);
});
