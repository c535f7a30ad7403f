/**
 * Where the labelled data and the models of the benchmark lie: a folder beside the project, or the one
 * that FLEETFIT_SHARED names. Only the benchmark needs them.
 */
import fs from "node:fs";
import path from "node:path";
import { gunzipSync } from "node:zlib";

const beside = path.resolve(import.meta.dirname, "../../../../../shared");

/** Where a file of the folder lies. Throws when it is not there. */
export function sharedFile(...parts: readonly string[]): string {
  const folder = process.env["FLEETFIT_SHARED"] ?? beside;
  const file = path.join(folder, ...parts);
  if (!fs.existsSync(file)) {
    throw new Error(
      `${file} is missing: set FLEETFIT_SHARED to the folder with the benchmark's models/ and data/`,
    );
  }
  return file;
}

/** The bytes of a file of the folder, unpacked when its name ends in `.gz`. Throws when it is not there. */
export function sharedBytes(...parts: readonly string[]): Uint8Array<ArrayBuffer> {
  const file = sharedFile(...parts);
  const bytes = fs.readFileSync(file);
  const plain = file.endsWith(".gz") ? gunzipSync(bytes) : bytes;
  // A copy, so that views of wider numbers start where they may.
  return new Uint8Array(plain);
}
