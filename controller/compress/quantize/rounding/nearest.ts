/**
 * Each weight to the nearest code, a tie to the even one.
 * Source: onnxruntime 1.30, quantization/quant_utils.py, quantize_nparray.
 */
import { clamp, roundHalfEven } from "../scale.ts";
import { defineRounding, type RoundingRequest } from "./strategy.ts";

export const nearest = defineRounding({
  name: "nearest",
  options: {},
  round: roundToNearest,
});

/** Centred codes in the order of the rows. */
export function roundToNearest({ rows, scales, codes }: RoundingRequest): Int16Array {
  const { values, length } = rows;
  const result = new Int16Array(values.length);
  for (let index = 0; index < values.length; index++) {
    const scale = scales[scales.length === 1 ? 0 : Math.floor(index / length)]!;
    result[index] = clamp(roundHalfEven(Math.fround(values[index]! / scale)), codes);
  }
  return result;
}
