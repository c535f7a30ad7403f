/** A copy of a file that is either not there or whole and durable, made in parts of bounded size. */
import { dirname } from "node:path";
import type { Files } from "../ports/files.ts";

/** Part that is moved at once, in bytes. */
const partBytes = 1 << 20;

/** Copies the first `bytes` of `from`; the folder of `to` exists already. */
export async function copyFileAtomic(
  files: Files,
  from: string,
  to: string,
  bytes: number,
): Promise<void> {
  const beside = `${to}.new`;
  const file = await files.open(beside, "create");
  try {
    for (let offset = 0; offset < bytes; offset += partBytes) {
      const length = Math.min(partBytes, bytes - offset);
      await file.write(await files.readRange(from, { offset, length }), offset);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  await files.rename(beside, to);
  await files.syncDirectory(dirname(to));
}
