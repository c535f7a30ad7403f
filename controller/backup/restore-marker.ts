/** The mark of a folder that a restore has begun and not finished. */
import { join } from "node:path";
import { FleetError } from "../../shared/errors.ts";
import type { Files } from "../../shared/ports/files.ts";

export function restoreMarkerPath(dataDir: string): string {
  return join(dataDir, "restore-unfinished");
}

/** Errors: `conflict` when a restore into this folder was cut off. */
export async function requireWholeFolder(files: Files, dataDir: string): Promise<void> {
  if ((await files.stat(restoreMarkerPath(dataDir))) === undefined) return;
  throw new FleetError(
    "conflict",
    `a restore into ${dataDir} was cut off: repeat \`fleetfit controller restore\``,
  );
}
