/**
 * Folders that are still there after a power cut: a new name is durable only when the folder that
 * holds it was fsynced, up to a root that is durable already.
 */
import { dirname } from "node:path";
import { assert } from "../assert.ts";
import type { Files } from "../ports/files.ts";

/**
 * Makes `path`, which is `root` or below it, and fsyncs every folder above it up to `root`. Folders
 * that exist are fsynced too: whoever made them may have died before it did.
 */
export async function makeFolderDurable(files: Files, root: string, path: string): Promise<void> {
  await files.makeDirectory(path);
  for (let at = path; at !== root; at = dirname(at)) {
    assert(at !== dirname(at), `${path} is not below ${root}`);
    await files.syncDirectory(dirname(at));
  }
}
