/**
 * The SQLite port over real databases in memory. A transaction, the commit of one that a program opened
 * by itself, or a statement that writes outside of one, is one effect: a cut inside it is a cut before
 * it, because SQLite rolls back what was not committed. The lock of a data folder is not simulated.
 */
import Database from "better-sqlite3";
import { cachedStatements } from "../../../shared/adapters/statement-cache.ts";
import type { OpenSqlite, Sqlite, SqliteStatement } from "../../../shared/ports/sqlite.ts";
import type { Power } from "./effects.ts";

/** What a device's databases hold, by path; kept over cuts. */
export type Images = Map<string, Uint8Array>;

export interface Databases {
  readonly open: OpenSqlite;
  /** What is committed now; no transaction may be open. */
  images(): Images;
  /** What is committed, as a restart finds it: the program has ended and its open transactions with it. */
  imagesAfterCut(): Images;
  /** The connection that the program uses now, to read what it committed without a copy. */
  live(path: string): Database.Database | undefined;
  /** Frees the memory of what is open; nothing may use it afterwards. */
  dispose(): void;
}

const nameChars = 60;
const lockName = ".lock";

export function databaseFault(code: "SQLITE_FULL" | "SQLITE_IOERR"): Error {
  return new Database.SqliteError(`simulated ${code}`, code);
}

/** SQLite copies the image. A copy made here is garbage outside of the heap, of which 10,000 devices make much. */
export function openImage(image: Uint8Array | undefined): Database.Database {
  if (image === undefined) return new Database(":memory:");
  return new Database(Buffer.from(image.buffer, image.byteOffset, image.byteLength));
}

export function simDatabases(stored: Images, power: Power): Databases {
  const open = new Map<string, Database.Database>();
  return {
    open(path) {
      if (path.endsWith(lockName)) return lock(power);
      const image = stored.get(path);
      const database = openImage(image);
      database.pragma("foreign_keys = ON");
      open.set(path, database);
      return wrap(database, power, () => {
        if (power.isOn()) stored.set(path, database.serialize());
        open.delete(path);
      });
    },
    images: () => imagesOf(stored, open),
    imagesAfterCut() {
      for (const database of open.values()) if (database.inTransaction) database.exec("rollback");
      return imagesOf(stored, open);
    },
    live: (path) => open.get(path),
    dispose() {
      for (const database of open.values()) database.close();
      open.clear();
    },
  };
}

/** Taken by one effect, and never held against anybody. */
function lock(power: Power): Sqlite {
  const noData = () => {
    throw new Error("a lock holds no data");
  };
  return {
    prepare: noData,
    exec: (sql) => power.actNow({ kind: "database", name: sql, perform: () => {} }),
    transaction: noData,
    backup: noData,
    close: () => {},
  };
}

function imagesOf(stored: Images, open: ReadonlyMap<string, Database.Database>): Images {
  const now: Images = new Map(stored);
  for (const [path, database] of open) now.set(path, database.serialize());
  return now;
}

const nothing = { changes: 0, lastInsertRowid: 0 };

/** How kysely, which opens its transactions by itself, ends them. */
function ending(statement: Database.Statement, name: string, power: Power): SqliteStatement {
  // The transactions of a program that lost its power are over.
  const perform = () => (power.isOn() ? statement.run() : nothing);
  return {
    ...(statement as unknown as SqliteStatement),
    reader: false,
    run: () => (name === "commit" ? power.actNow({ kind: "database", name, perform }) : perform()),
  };
}

function wrap(database: Database.Database, power: Power, onClose: () => void): Sqlite {
  const alone = <T>(name: string, perform: () => T): T =>
    database.inTransaction
      ? perform()
      : power.actNow({ kind: "database", name: name.slice(0, nameChars), perform });
  return {
    prepare: cachedStatements((sql): SqliteStatement => {
      const statement = database.prepare(sql);
      if (sql === "commit" || sql === "rollback") return ending(statement, sql, power);
      if (statement.readonly) return statement as unknown as SqliteStatement;
      const name = sql.replaceAll(/\s+/g, " ").trim();
      return {
        reader: statement.reader,
        run: (...parameters) => alone(name, () => statement.run(...parameters)),
        get: (...parameters) => alone(name, () => statement.get(...parameters)),
        all: (...parameters) => alone(name, () => statement.all(...parameters)),
        iterate: (...parameters) => alone(name, () => statement.iterate(...parameters)),
      };
    }),
    exec: (sql) => alone(sql, () => void database.exec(sql)),
    transaction: (work) => alone("transaction", () => database.transaction(work).immediate()),
    backup: () => Promise.reject(new Error("a simulated database is not copied")),
    close() {
      onClose();
      if (power.isOn()) database.close();
    },
  };
}
