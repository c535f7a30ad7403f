/**
 * The part of a synchronous SQLite driver that both programs use. It is a subset of better-sqlite3
 * and satisfies kysely's `SqliteDatabase`, so crash tests can wrap each statement.
 *
 * Invariant: databases open in WAL mode with `synchronous=FULL` and foreign keys on, so a finished
 * transaction survives a power cut.
 */

export interface SqliteStatement {
  readonly reader: boolean;
  run(...parameters: unknown[]): { changes: number; lastInsertRowid: number | bigint };
  get(...parameters: unknown[]): unknown;
  all(...parameters: unknown[]): unknown[];
  iterate(...parameters: unknown[]): IterableIterator<unknown>;
}

export interface Sqlite {
  prepare(sql: string): SqliteStatement;
  /** Runs several statements without parameters. */
  exec(sql: string): void;
  /** Runs `work` in one IMMEDIATE transaction; a throw rolls back and is passed on. */
  transaction<T>(work: () => T): T;
  /** Copies the whole database, consistently and while in use, to a new file. */
  backup(path: string): Promise<void>;
  close(): void;
}

/** Opens or makes the database file. */
export type OpenSqlite = (path: string) => Sqlite;
