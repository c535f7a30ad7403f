/** SQLite through better-sqlite3, opened so that a finished transaction survives a power cut. */
import Database from "better-sqlite3";
import type { Sqlite } from "../ports/sqlite.ts";
import { cachedStatements } from "./statement-cache.ts";

/** How long a statement waits for another process that holds the lock, in ms. */
const busyTimeoutMs = 5_000;

export function openSystemSqlite(path: string): Sqlite {
  const database = new Database(path, { timeout: busyTimeoutMs });
  database.pragma("journal_mode = WAL");
  database.pragma("synchronous = FULL");
  database.pragma("foreign_keys = ON");
  return {
    prepare: cachedStatements((sql) => database.prepare(sql)),
    exec(sql) {
      database.exec(sql);
    },
    transaction: (work) => database.transaction(work).immediate(),
    async backup(target) {
      await database.backup(target);
    },
    close() {
      database.close();
    },
  };
}
