/**
 * SQLite through better-sqlite3, opened so that a finished transaction survives a power cut.
 *
 * Invariant: databases and copies of them are for their owner alone; they hold hashes of passwords and
 * what devices serve.
 */
import { chmodSync, closeSync, constants, openSync, statSync } from "node:fs";
import Database from "better-sqlite3";
import type { Sqlite } from "../ports/sqlite.ts";
import { cachedStatements } from "./statement-cache.ts";

/** How long a statement waits for another process that holds the lock, in ms. */
const busyTimeoutMs = 5_000;

const ownerOnly = 0o600;
const forOthers = 0o077;
const inMemory = ":memory:";

export function openSystemSqlite(path: string): Sqlite {
  if (path !== inMemory) keepToOwner(path);
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
      makeForOwner(target);
      await database.backup(target);
    },
    close() {
      database.close();
    },
  };
}

function keepToOwner(path: string): void {
  makeForOwner(path);
  for (const file of [path, `${path}-wal`, `${path}-shm`]) restrict(file);
}

/** SQLite gives its other files the mode of the database. */
function makeForOwner(path: string): void {
  if (statSync(path, { throwIfNoEntry: false }) !== undefined) return;
  closeSync(openSync(path, constants.O_RDWR | constants.O_CREAT, ownerOnly));
}

/**
 * Narrows a file of an older program, by its path: closing a file would drop the locks that this process
 * holds on it (SQLite, "How To Corrupt", 2.2).
 */
function restrict(path: string): void {
  const facts = statSync(path, { throwIfNoEntry: false });
  if (facts === undefined || (facts.mode & forOthers) === 0) return;
  try {
    chmodSync(path, ownerOnly);
  } catch {
    // Somebody else's file, or a file system without modes: it is as safe as its folder.
  }
}
