/** Windows of a smartphone's accelerometer and gyroscope: 6 channels × 128 samples, int16. */
import type { LabelledSamples } from "../subject.ts";
import { sharedBytes } from "./shared-files.ts";

const windowLength = 128;
const channels = 6;
/** Codes per m/s² of the first three channels, and per rad/s of the others. */
const codesPerUnit = [400, 400, 400, 1000, 1000, 1000] as const;

/** float32 [N, 6, 128] in m/s² and rad/s. */
export function harWindows(part: "train" | "test"): LabelledSamples {
  const bytes = sharedBytes("data", "har-smartphone", `${part}-windows.i16le.gz`);
  const codes = new Int16Array(bytes.buffer);
  const labels = sharedBytes("data", "har-smartphone", `${part}-labels.u8`);
  const data = Float32Array.from(
    codes,
    (code, at) => code / codesPerUnit[Math.floor(at / windowLength) % channels]!,
  );
  return { data, count: labels.length, labels };
}
