/** The instruction sets of this processor that change how a model runs, as the kernel lists them. */
import { readText } from "../files/read-text.ts";
import type { Files } from "../ports/files.ts";
import { isaFlags, type Profile } from "./profile.ts";

/** "flags" on x86, "Features" on Arm; empty where there is no /proc/cpuinfo. */
export async function readIsa(files: Files): Promise<Profile["isa"]> {
  const text = await readText(files, "/proc/cpuinfo");
  const line = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(text)?.[1] ?? "";
  const found = new Set(line.split(/\s+/));
  return isaFlags.filter((flag) => found.has(flag));
}
