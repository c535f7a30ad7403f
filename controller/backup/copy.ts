/** Durable copies of files, hashed on the way; nothing is held in memory whole. */
import { dirname, isAbsolute, join, relative, sep } from "node:path";
import { sha256Stream } from "../../shared/artifact/hash.ts";
import type { Files } from "../../shared/ports/files.ts";

const partBytes = 1 << 20;

/** Hash and length of a file; a durable copy of it when `to` is given. */
export async function copyFile(
  files: Files,
  from: string,
  to: string | undefined,
): Promise<{ sha256: string; bytes: number }> {
  if (to === undefined) return readThrough(files, from, async () => {});
  await files.makeDirectory(dirname(to));
  const file = await files.open(to, "create");
  try {
    const facts = await readThrough(files, from, (part, at) => file.write(part, at));
    await file.sync();
    return facts;
  } finally {
    await file.close();
    await files.syncDirectory(dirname(to));
  }
}

async function readThrough(
  files: Files,
  path: string,
  onPart: (part: Uint8Array, at: number) => Promise<void>,
): Promise<{ sha256: string; bytes: number }> {
  const hash = sha256Stream();
  let bytes = 0;
  for (;;) {
    const part = await files.readRange(path, { offset: bytes, length: partBytes });
    if (part.byteLength === 0) return { sha256: hash.hex(), bytes };
    hash.update(part);
    await onPart(part, bytes);
    bytes += part.byteLength;
  }
}

/** Every file below a folder, sorted; none when the folder is missing. */
export async function walk(files: Files, folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of await files.list(folder)) {
    const path = join(folder, name);
    const facts = await files.stat(path);
    if (facts?.isDirectory === true) found.push(...(await walk(files, path)));
    else if (facts !== undefined) found.push(path);
  }
  return found;
}

/** True when `path` is `folder` or lies below it. */
export function isWithin(folder: string, path: string): boolean {
  const steps = relative(folder, path);
  return steps !== ".." && !steps.startsWith(`..${sep}`) && !isAbsolute(steps);
}

/** True for a folder without entries and for one that does not exist. */
export async function isEmptyFolder(files: Files, path: string): Promise<boolean> {
  return (await files.list(path)).length === 0;
}
