/**
 * A file that only its owner may read, also when one of that name was there with other rights.
 *
 * Invariant: what was there stays as it is until the new content is durable.
 */
import {
  closeSync,
  fchmodSync,
  fsyncSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { FleetError } from "../../shared/errors.ts";

export interface SecretFile {
  readonly keep: (text: string) => void;
  readonly discard: () => void;
}

/** Errors: `file-unusable` when the folder is missing or may not be written. */
export function openSecretFile(path: string): SecretFile {
  const beside = `${path}.new`;
  const file = openPrivate(path, beside);
  return {
    keep(text) {
      writeFileSync(file, text);
      fsyncSync(file);
      closeSync(file);
      renameSync(beside, path);
    },
    discard() {
      closeSync(file);
      rmSync(beside, { force: true });
    },
  };
}

function openPrivate(path: string, beside: string): number {
  try {
    const file = openSync(beside, "w", 0o600);
    // The mode above counts for new files only.
    fchmodSync(file, 0o600);
    return file;
  } catch (cause) {
    throw new FleetError("file-unusable", `${path} cannot be written`, { cause });
  }
}
