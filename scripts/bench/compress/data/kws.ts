/** The keyword-spotting set of MLPerf Tiny: 1,000 samples of 49 frames × 10 MFCCs, int8 of the reference model. */
import type { LabelledSamples } from "../subject.ts";
import { sharedBytes } from "./shared-files.ts";

/** Input quantization of mlcommons/tiny's keyword-spotting reference model. */
const zeroPoint = 83;
const scale = 0.5847029089927673;

/** float32 [1000, 49, 10]. */
export function kwsMfcc(): LabelledSamples {
  const codes = new Int8Array(
    sharedBytes("data", "kws01-mfcc", "kws01-mfcc-1000x49x10.i8.gz").buffer,
  );
  const labels = sharedBytes("data", "kws01-mfcc", "kws01-labels.u8");
  return {
    data: Float32Array.from(codes, (code) => (code - zeroPoint) * scale),
    count: labels.length,
    labels,
  };
}
