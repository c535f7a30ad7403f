/**
 * Files by their SHA-256: models, golden sets, bundles, shards. A name is only ever given to bytes
 * that hash to it and are durable.
 */
import { join } from "node:path";
import { sha256Hex, sha256Stream } from "../../shared/artifact/hash.ts";
import { FleetError } from "../../shared/errors.ts";
import { writeFileAtomic } from "../../shared/files/atomic-file.ts";
import type { Files } from "../../shared/ports/files.ts";

export interface BlobStore {
  path(sha256: string): string;
  /** Stores bytes and answers their name; storing the same bytes again is free. */
  put(bytes: Uint8Array): Promise<string>;
  /**
   * Stores a stream under the name that it must hash to and answers its length in bytes; whatever
   * goes wrong leaves nothing behind. Errors: `artifact-mismatch`, `too-large`.
   */
  putStream(
    chunks: AsyncIterable<Uint8Array>,
    expected: { sha256: string; bytesMax: number },
  ): Promise<number>;
  /** Errors: `artifact-missing`, `too-large`. */
  read(sha256: string, limits?: { maxBytes: number }): Promise<Uint8Array>;
  readRange(sha256: string, range: { offset: number; length: number }): Promise<Uint8Array>;
  /** Length in bytes; undefined when it is not here. */
  size(sha256: string): Promise<number | undefined>;
}

const readBytesMax = 2 ** 31;

export function blobStore(files: Files, folder: string): BlobStore {
  const path = (sha256: string) => join(folder, sha256.slice(0, 2), sha256);
  const size = async (sha256: string) => (await files.stat(path(sha256)))?.bytes;
  const mustExist = async (sha256: string): Promise<void> => {
    if ((await size(sha256)) === undefined) {
      throw new FleetError("artifact-missing", `no stored file is named ${sha256}`);
    }
  };
  // Two writers of one name would rename each other's file away, so the second joins the first.
  const writing = new Map<string, Promise<void>>();
  let uploads = 0;
  return {
    path,
    size,
    async put(bytes) {
      const sha256 = sha256Hex(bytes);
      if ((await size(sha256)) === bytes.byteLength) return sha256;
      const current = writing.get(sha256) ?? writeFileAtomic(files, path(sha256), bytes);
      writing.set(sha256, current);
      await current.finally(() => writing.delete(sha256));
      return sha256;
    },
    putStream(chunks, expected) {
      const { sha256 } = expected;
      const part = join(folder, sha256.slice(0, 2), `${sha256}.part-${uploads++}`);
      return storeStream(files, chunks, { ...expected, part, path: path(sha256) });
    },
    async read(sha256, limits = { maxBytes: readBytesMax }) {
      await mustExist(sha256);
      return files.read(path(sha256), limits);
    },
    async readRange(sha256, range) {
      await mustExist(sha256);
      return files.readRange(path(sha256), range);
    },
  };
}

async function storeStream(
  files: Files,
  chunks: AsyncIterable<Uint8Array>,
  target: { sha256: string; bytesMax: number; part: string; path: string },
): Promise<number> {
  const folder = join(target.path, "..");
  await files.makeDirectory(folder);
  const file = await files.open(target.part, "create");
  const hash = sha256Stream();
  let bytes = 0;
  try {
    try {
      for await (const chunk of chunks) {
        if (bytes + chunk.byteLength > target.bytesMax) {
          throw new FleetError("too-large", `a file may have ${target.bytesMax} bytes`);
        }
        await file.write(chunk, bytes);
        hash.update(chunk);
        bytes += chunk.byteLength;
      }
      await file.sync();
    } finally {
      await file.close();
    }
    const sha256 = hash.hex();
    if (sha256 !== target.sha256) {
      throw new FleetError("artifact-mismatch", `the bytes hash to ${sha256}`);
    }
    await files.rename(target.part, target.path);
    await files.syncDirectory(folder);
  } catch (error) {
    await files.remove(target.part);
    throw error;
  }
  return bytes;
}
