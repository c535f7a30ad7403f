/** Which stored files the controller knows; the bytes themselves are in the blob store. */
import type { Database } from "../database.ts";

export interface StoredBlob {
  readonly sha256: string;
  readonly bytes: number;
}

/** Files that are known already stay as they are. */
export async function recordBlobs(
  db: Database,
  blobs: readonly StoredBlob[],
  nowMs: number,
): Promise<void> {
  if (blobs.length === 0) return;
  await db
    .insertInto("blobs")
    .values(blobs.map(({ sha256, bytes }) => ({ sha256, bytes, createdAtMs: nowMs })))
    .onConflict((conflict) => conflict.column("sha256").doNothing())
    .execute();
}

/** Length of every known file, by hash. */
export async function listBlobs(db: Database): Promise<StoredBlob[]> {
  return db.selectFrom("blobs").select(["sha256", "bytes"]).orderBy("sha256").execute();
}
