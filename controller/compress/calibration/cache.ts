/**
 * Calibration tables by what they were made from, so that recipes over one prepared model, and later
 * runs, observe it once.
 *
 * Invariant: a key covers the model, the samples, the runtime and what was asked for; a table that
 * cannot be read is made anew.
 */
import { sha256Hex } from "../../../shared/artifact/hash.ts";

/** Where tables are kept; a workbench may have one. */
export interface CalibrationCache {
  /** What the samples and the runtime are, in a word: part of every key. */
  readonly identity: string;
  readonly read: (key: string) => Promise<Uint8Array | undefined>;
  readonly write: (key: string, table: Uint8Array) => Promise<void>;
}

/** Raised whenever a table of the same key would hold other numbers. */
const version = 1;

/** The key of a table over an instrumented model; 64 hexadecimal digits. */
export function calibrationKey(
  cache: CalibrationCache,
  modelBytes: Uint8Array,
  more: readonly unknown[],
): string {
  const parts = [version, cache.identity, sha256Hex(modelBytes), ...more];
  return sha256Hex(new TextEncoder().encode(JSON.stringify(parts)));
}
