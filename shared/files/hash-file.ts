/** SHA-256 of a file that need not fit in memory. */
import { sha256Stream } from "../artifact/hash.ts";
import type { Files } from "../ports/files.ts";

const partBytes = 1 << 20;

/** Hash and length of a file; undefined when it does not exist. */
export async function hashFile(
  files: Files,
  path: string,
): Promise<{ sha256: string; bytes: number } | undefined> {
  const facts = await files.stat(path);
  if (facts === undefined || facts.isDirectory) return undefined;
  const hash = sha256Stream();
  let offset = 0;
  while (offset < facts.bytes) {
    const part = await files.readRange(path, { offset, length: partBytes });
    if (part.byteLength === 0) break;
    hash.update(part);
    offset += part.byteLength;
  }
  return { sha256: hash.hex(), bytes: offset };
}
