/**
 * Prepared statements of one connection by their text: preparing costs SQLite several times what a short
 * statement costs to run. The least recently used is let go of.
 *
 * Invariant: a statement is never used by two callers at once, because nobody keeps an iterator open.
 */
import type { SqliteStatement } from "../ports/sqlite.ts";

const statementsMax = 256;
/** Longer ones carry lists of values and seldom come twice. */
const sqlCharsMax = 2_000;

export function cachedStatements(
  prepare: (sql: string) => SqliteStatement,
): (sql: string) => SqliteStatement {
  const known = new Map<string, SqliteStatement>();
  return (sql) => {
    if (sql.length > sqlCharsMax) return prepare(sql);
    const statement = known.get(sql) ?? prepare(sql);
    known.delete(sql);
    known.set(sql, statement);
    const [oldest] = known.keys();
    if (known.size > statementsMax && oldest !== undefined) known.delete(oldest);
    return statement;
  };
}
