/**
 * Each weight to the nearest code, a tie to the even one.
 * Source: onnxruntime 1.30, quantization/quant_utils.py, quantize_nparray.
 */
import { defineRounding, type RoundingRequest } from "./strategy.ts";

export const nearest = defineRounding({
  name: "nearest",
  options: {},
  round: roundToNearest,
});

/**
 * 1.5 · 2^23: float32 numbers of this size have no fraction, so adding it rounds half to even, as numpy
 * does, in one instruction; exact for codes, which are far smaller. Of large models most of what is left
 * of static int8 beside calibration is spent here.
 */
const roundingShift = 12_582_912;

/** Centred codes in the order of the rows. */
export function roundToNearest({ rows, scales, codes }: RoundingRequest): Int16Array {
  const { values } = rows;
  const { min, max } = codes;
  const result = new Int16Array(values.length);
  const length = values.length / scales.length;
  for (let row = 0; row < scales.length; row++) {
    const scale = scales[row]!;
    const end = (row + 1) * length;
    for (let index = row * length; index < end; index++) {
      const code = Math.fround(values[index]! / scale);
      const within = Math.max(min, Math.min(code, max));
      result[index] = Math.fround(within + roundingShift) - roundingShift;
    }
  }
  return result;
}
