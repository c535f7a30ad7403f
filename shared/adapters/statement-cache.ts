/**
 * Prepared statements of one connection by their text: preparing costs SQLite several times what a short
 * statement costs to run. Those that were not used for long are let go of.
 *
 * Invariant: a statement is never used by two callers at once, because nobody keeps an iterator open.
 */
import type { SqliteStatement } from "../ports/sqlite.ts";

/** Two generations of this many: what was used since the newer one began moves into it. */
const statementsMax = 256;
/** Longer ones carry lists of values and seldom come twice. */
const sqlCharsMax = 2_000;

export function cachedStatements(
  prepare: (sql: string) => SqliteStatement,
): (sql: string) => SqliteStatement {
  let newer = new Map<string, SqliteStatement>();
  let older: ReadonlyMap<string, SqliteStatement> = new Map();
  return (sql) => {
    const known = newer.get(sql);
    if (known !== undefined) return known;
    if (sql.length > sqlCharsMax) return prepare(sql);
    const statement = older.get(sql) ?? prepare(sql);
    if (newer.size >= statementsMax) {
      older = newer;
      newer = new Map();
    }
    newer.set(sql, statement);
    return statement;
  };
}
