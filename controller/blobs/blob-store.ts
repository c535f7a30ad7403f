/**
 * Files by their SHA-256: models, golden sets, bundles, shards. A name is only ever given to bytes
 * that hash to it and are durable.
 */
import { join } from "node:path";
import { sha256Hex } from "../../shared/artifact/hash.ts";
import { FleetError } from "../../shared/errors.ts";
import { writeFileAtomic } from "../../shared/files/atomic-file.ts";
import type { Files } from "../../shared/ports/files.ts";

export interface BlobStore {
  path(sha256: string): string;
  /** Stores bytes and answers their name; storing the same bytes again is free. */
  put(bytes: Uint8Array): Promise<string>;
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
  return {
    path,
    size,
    async put(bytes) {
      const sha256 = sha256Hex(bytes);
      if ((await size(sha256)) !== bytes.byteLength)
        await writeFileAtomic(files, path(sha256), bytes);
      return sha256;
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
