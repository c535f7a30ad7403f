/** What the operations of a run cost the flash below the disk. */
import type { DiskOperation } from "./trace.ts";

export interface FlashBytes {
  /** Bytes that the program gave to write calls. */
  readonly rawBytes: number;
  /** Bytes of the pages that a sync, or the end, had to bring to the flash. */
  readonly pageBytes: number;
  readonly syncs: number;
}

/** Smallest part of a file that common file systems write. */
const pageBytes = 4_096;

/**
 * Pages that are written twice before a sync count once, and again after it. What the file system
 * writes for itself (its journal, names, lengths) is not in a trace and not counted.
 */
export function flashBytesOf(operations: readonly DiskOperation[]): FlashBytes {
  const dirty = new Map<string, Set<number>>();
  let rawBytes = 0;
  let pages = 0;
  let syncs = 0;
  const flush = (path: string) => {
    pages += dirty.get(path)?.size ?? 0;
    dirty.delete(path);
  };
  for (const operation of operations) {
    if (operation.kind === "write") {
      rawBytes += operation.bytes.byteLength;
      const touched = dirty.get(operation.path) ?? new Set();
      const end = operation.offsetBytes + operation.bytes.byteLength;
      const first = Math.floor(operation.offsetBytes / pageBytes);
      for (let page = first; page * pageBytes < end; page++) touched.add(page);
      dirty.set(operation.path, touched);
    } else if (operation.kind === "sync") {
      syncs++;
      flush(operation.path);
    } else if (operation.kind === "rename") {
      const moved = dirty.get(operation.from);
      dirty.delete(operation.from);
      if (moved !== undefined) dirty.set(operation.path, moved);
    }
  }
  for (const path of [...dirty.keys()]) flush(path);
  return { rawBytes, pageBytes: pages * pageBytes, syncs };
}
