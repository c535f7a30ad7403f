/**
 * The extremes of a block get the first and the last code, so nothing is cut. A symmetric block's largest
 * magnitude gets code 0 exactly, whatever its sign: scale = signed extreme / -2^(bits - 1).
 * Source: onnxruntime 1.30, core/mlas/lib/q4_dq.cpp, range2scale and range2scalezp.
 */

import { rangeOf, roundHalfEven } from "../scale.ts";
import type { BlockFormat, BlockParameters } from "./strategy.ts";
import { defineBlockScale, orOne } from "./strategy.ts";

export const minMaxBlocks = defineBlockScale({
  name: "min-max",
  parameters: (block, format) => spanning(rangeOf(block), format),
});

/** Parameters whose codes reach both ends of a range that holds 0. */
export function spanning(
  { min, max }: { readonly min: number; readonly max: number },
  { bits, symmetric }: BlockFormat,
): BlockParameters {
  if (symmetric) {
    const middle = 2 ** (bits - 1);
    const extreme = -min > max ? min : max;
    return { scale: orOne(Math.fround(extreme / -middle)), zeroPoint: middle };
  }
  const last = 2 ** bits - 1;
  const scale = orOne(Math.fround((max - min) / last));
  return { scale, zeroPoint: Math.min(roundHalfEven(-min / scale), last) };
}
