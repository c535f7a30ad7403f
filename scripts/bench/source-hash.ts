/** What programs a figure was made by, so that a figure that was kept is never taken for one of others. */
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";

/** Short hash of the files and folders named, with all that lies in them; relative to `root`. */
export function sourceHash(root: string, sources: readonly string[]): string {
  const hash = createHash("sha256");
  for (const source of sources) {
    for (const file of filesIn(path.join(root, source))) {
      hash.update(`${path.relative(root, file)}\n`).update(fs.readFileSync(file));
    }
  }
  return hash.digest("hex").slice(0, 16);
}

function filesIn(place: string): string[] {
  if (fs.statSync(place).isFile()) return [place];
  return fs
    .readdirSync(place, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .sort();
}
