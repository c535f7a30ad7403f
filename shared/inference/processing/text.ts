/** Text as a sample: UTF-8, followed by zeros up to the sample's fixed length. */
import { FleetError } from "../../errors.ts";

/** Errors: `golden-mismatch` for bytes that are not UTF-8. */
export function textOf(sample: Uint8Array): string {
  let end = sample.byteLength;
  while (end > 0 && sample[end - 1] === 0) end--;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
      sample.subarray(0, end),
    );
  } catch (cause) {
    throw new FleetError("golden-mismatch", "the text is not UTF-8", { cause });
  }
}

/** A sample of `bytesMax` bytes; undefined for a text that is longer. */
export function textSample(text: string, bytesMax: number): Uint8Array | undefined {
  const bytes = new TextEncoder().encode(text);
  if (bytes.byteLength > bytesMax) return undefined;
  const sample = new Uint8Array(bytesMax);
  sample.set(bytes);
  return sample;
}
