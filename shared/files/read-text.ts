/** Small files of /proc and /sys as text. */
import type { Files } from "../ports/files.ts";

const bytesMax = 1_000_000;

/** Such files state length 0, so a fixed range is read; empty when unreadable. */
export async function readText(files: Files, path: string): Promise<string> {
  const bytes = await files
    .readRange(path, { offset: 0, length: bytesMax })
    .catch(() => new Uint8Array());
  return new TextDecoder().decode(bytes);
}
