/** Real files through node:fs, in the primitives of the port. */
import { constants } from "node:fs";
import * as fs from "node:fs/promises";
import { FleetError } from "../errors.ts";
import type { Files, OpenFile } from "../ports/files.ts";

export function systemFiles(): Files {
  return {
    async read(path, { maxBytes }) {
      const { size } = await fs.stat(path);
      if (size > maxBytes) {
        throw new FleetError("too-large", `${path} has ${size} bytes; the limit is ${maxBytes}`);
      }
      return plainBytes(await fs.readFile(path));
    },
    readRange,
    open,
    rename: (from, to) => fs.rename(from, to),
    async syncDirectory(path) {
      const folder = await fs.open(path, constants.O_RDONLY);
      await folder.sync().finally(() => folder.close());
    },
    async makeDirectory(path) {
      await fs.mkdir(path, { recursive: true, mode: 0o700 });
    },
    async list(path) {
      const names = await fs.readdir(path).catch(emptyWhenMissing);
      return names.sort();
    },
    async stat(path) {
      const facts = await fs.stat(path).catch(undefinedWhenMissing);
      return facts && { bytes: facts.size, isDirectory: facts.isDirectory() };
    },
    async remove(path) {
      await fs.rm(path, { recursive: true, force: true });
    },
    async space(path) {
      const facts = await fs.statfs(path);
      return { freeBytes: facts.bavail * facts.bsize, totalBytes: facts.blocks * facts.bsize };
    },
  };
}

async function readRange(
  path: string,
  { offset, length }: { offset: number; length: number },
): Promise<Uint8Array> {
  const file = await fs.open(path, constants.O_RDONLY);
  try {
    const buffer = new Uint8Array(length);
    const { bytesRead } = await file.read(buffer, 0, length, offset);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

async function open(path: string, mode: "create" | "update"): Promise<OpenFile> {
  const truncate = mode === "create" ? constants.O_TRUNC : 0;
  const file = await fs.open(path, constants.O_RDWR | constants.O_CREAT | truncate, 0o600);
  return {
    async write(bytes, positionBytes) {
      let written = 0;
      while (written < bytes.byteLength) {
        const rest = bytes.byteLength - written;
        written += (await file.write(bytes, written, rest, positionBytes + written)).bytesWritten;
      }
    },
    truncate: (bytes) => file.truncate(bytes),
    sync: () => file.sync(),
    close: () => file.close(),
  };
}

/** A plain Uint8Array over the same memory; `Buffer.slice` would be a view with other semantics. */
function plainBytes(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

function emptyWhenMissing(error: unknown): string[] {
  if (isMissing(error)) return [];
  throw error;
}

function undefinedWhenMissing(error: unknown): undefined {
  if (isMissing(error)) return undefined;
  throw error;
}
