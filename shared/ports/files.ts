/**
 * Files as an argument, in the primitives that crash tests enumerate: a write is not durable until
 * `sync`, a rename or a new name is not durable until `syncDirectory`.
 *
 * Invariant: paths are absolute. Missing paths answer `undefined` where the type says so and reject
 * with a plain Node error (`code: "ENOENT"`) elsewhere; a full disk rejects with `code: "ENOSPC"`.
 */

export interface FileFacts {
  readonly bytes: number;
  readonly isDirectory: boolean;
}

export interface OpenFile {
  write(bytes: Uint8Array, positionBytes: number): Promise<void>;
  /** Cuts or extends the file to exactly `bytes`. */
  truncate(bytes: number): Promise<void>;
  /** fsync: the content is durable when this resolves. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface Files {
  /** Whole file; rejects with `too-large` when it is longer than `maxBytes`. */
  read(path: string, limits: { maxBytes: number }): Promise<Uint8Array>;
  /** At most `length` bytes from `offset`; shorter at the end of the file. */
  readRange(path: string, range: { offset: number; length: number }): Promise<Uint8Array>;
  /** Made files are for their owner alone: `create` truncates or makes the file, `update` keeps what is there and makes it if missing. */
  open(path: string, mode: "create" | "update"): Promise<OpenFile>;
  rename(from: string, to: string): Promise<void>;
  /** fsync of a folder: names made, renamed or removed in it are durable when this resolves. */
  syncDirectory(path: string): Promise<void>;
  /** Makes the folder and its parents, for their owner alone; existing folders are fine as they are. */
  makeDirectory(path: string): Promise<void>;
  /** Names in the folder, sorted; empty when it does not exist. */
  list(path: string): Promise<string[]>;
  stat(path: string): Promise<FileFacts | undefined>;
  /** Removes a file or a whole folder; a missing path is fine. */
  remove(path: string): Promise<void>;
  /** Free and total space of the file system that holds `path`. */
  space(path: string): Promise<{ freeBytes: number; totalBytes: number }>;
}
