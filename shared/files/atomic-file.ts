/**
 * A file that is either the old one or the whole new one after a power cut: write beside it, fsync,
 * rename over it, fsync the folder.
 */
import { dirname } from "node:path";
import type { Files } from "../ports/files.ts";

export async function writeFileAtomic(
  files: Files,
  path: string,
  bytes: Uint8Array,
): Promise<void> {
  const folder = dirname(path);
  await files.makeDirectory(folder);
  const beside = `${path}.new`;
  const file = await files.open(beside, "create");
  try {
    await file.write(bytes, 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await files.rename(beside, path);
  await files.syncDirectory(folder);
}
