/**
 * What is committed beside this file: the trained models and `digits.json`, which says how each was
 * made and what it answered on the golden pool. The file's hash ties the figures to the bytes.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { FleetError } from "../../../shared/errors.ts";

const versionRecord = z.strictObject({
  version: z.int().positive(),
  file: z.string().regex(/^digits-v\d+\.onnx$/),
  summary: z.string(),
  /** 0 starts from random weights. */
  startsFrom: z.int().nonnegative(),
  seed: z.int(),
  epochs: z.int().positive(),
  trainingImages: z.int().positive(),
  bytes: z.int().positive(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** Share of the pool that is answered rightly. */
  accuracy: z.number().min(0).max(1),
  /** Images of the pool that the version before answered otherwise; 0 for the first. */
  flips: z.int().nonnegative(),
  /** Those of them that the version before answered rightly. */
  negativeFlips: z.int().nonnegative(),
});

const digitsRecord = z.strictObject({
  /** Images of the golden pool behind the figures. */
  poolImages: z.int().positive(),
  /** The seeds of the split and of the pool are in `scripts/data`. */
  versions: z.array(versionRecord).min(1),
});

export type DigitVersionRecord = z.infer<typeof versionRecord>;
export type DigitsRecord = z.infer<typeof digitsRecord>;

/** Largest file that is committed: the repository is cloned by people on slow links too. */
export const modelBytesMax = 400_000;

/** The committed record. Throws `golden-invalid` when it was edited into something else. */
export function readDigitsRecord(): DigitsRecord {
  const parsed = digitsRecord.safeParse(
    JSON.parse(readFileSync(new URL("digits.json", import.meta.url), "utf8")),
  );
  if (parsed.success) return parsed.data;
  throw new FleetError("golden-invalid", `digits.json is wrong: ${z.prettifyError(parsed.error)}`);
}

export function writeDigitsRecord(record: DigitsRecord): void {
  const text = `${JSON.stringify(digitsRecord.parse(record), null, 2)}\n`;
  writeFileSync(new URL("digits.json", import.meta.url), text);
}

export function digitModelFile(version: number): string {
  return `digits-v${version}.onnx`;
}

/** The bytes of a committed version. */
export function readDigitModel(version: number): Uint8Array {
  return new Uint8Array(readFileSync(new URL(digitModelFile(version), import.meta.url)));
}

export function writeDigitModel(version: number, bytes: Uint8Array): void {
  writeFileSync(new URL(digitModelFile(version), import.meta.url), bytes);
}
