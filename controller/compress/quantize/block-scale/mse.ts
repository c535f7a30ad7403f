/**
 * Shrinks the range of a block step by step and keeps the one whose error sum |error|^2.4 is smallest;
 * the whole range is the first candidate. Worth it below 8 bits, where one outlier costs half the codes.
 * Rejected: moving the zero point as half-quadratic quantization does; rounded to the integer that the
 * runtime's integer kernel wants, it ends where it began.
 * Source: GPTQ (Frantar 2022), reference code quant.py: 80 of 100 steps, norm 2.4.
 */
import { codeOf } from "../blocks.ts";
import { rangeOf } from "../scale.ts";
import { spanning } from "./min-max.ts";
import type { BlockFormat, BlockParameters } from "./strategy.ts";
import { defineBlockScale } from "./strategy.ts";

const shares = Array.from({ length: 80 }, (_, step) => 1 - step / 100);
const norm = 2.4;

export const mseBlocks = defineBlockScale({
  name: "mse",
  parameters(block, format) {
    const { min, max } = rangeOf(block);
    let best = spanning({ min, max }, format);
    let least = blockError(block, best, format);
    // The one more code of a symmetric block may serve the other side better.
    const sides = format.symmetric ? [1, -1] : [1];
    for (const share of shares) {
      // What is cut off the extreme alone, more with every step, is too much already.
      if (((1 - share) * Math.max(-min, max)) ** norm >= least) break;
      for (const side of sides) {
        const ends = [side * share * min, side * share * max] as const;
        const range = { min: Math.min(...ends), max: Math.max(...ends) };
        const candidate = spanning(range, format);
        const error = blockError(block, candidate, format, least);
        if (error >= least) continue;
        least = error;
        best = candidate;
      }
    }
    return best;
  },
});

/** The sum of |error|^2.4, or something beyond `limit` as soon as it is passed. */
function blockError(
  block: Float32Array,
  parameters: BlockParameters,
  { bits }: BlockFormat,
  limit = Number.POSITIVE_INFINITY,
): number {
  let sum = 0;
  for (let index = 0; index < block.length && sum < limit; index++) {
    const value = block[index]!;
    const back = (codeOf(value, parameters, bits) - parameters.zeroPoint) * parameters.scale;
    sum += Math.abs(back - value) ** norm;
  }
  return sum;
}
