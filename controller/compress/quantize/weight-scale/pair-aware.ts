/**
 * Weights of eight bits for x86 without VNNI, which adds products of two neighbouring inputs to 16 bits:
 * a row whose pairs could pass that gets a scale with which they cannot, all others keep theirs.
 *
 * For two neighbours a, b of the same sign, u the largest unsigned code of the input:
 *   u · (|q_a| + |q_b|) ≤ 32,767, so s ≥ (|w_a| + |w_b|) / ⌊32,767 / u⌋ (128 for u = 255);
 * rounding half to even cannot lift the sum of two codes above that whole number. Neighbours of different
 * sign never pass it.
 *
 * Source: `emulate/pairs.ts` for which products are neighbours; a rule of this project, since
 * onnxruntime's reduce_range takes a bit from every weight instead.
 */
import { pairMax } from "../../emulate/pairs.ts";
import type { WeightRows } from "../weight-rows.ts";
import { maxScales } from "./max.ts";
import { defineWeightScale, type Pairing } from "./strategy.ts";

export const pairAwareScale = defineWeightScale({
  name: "pair-aware",
  options: {},
  scales(request) {
    const { rows, perChannel, symmetric, inputCodes, pairing } = request;
    const scales = maxScales(request);
    // uint8 weights meet kernels that widen both sides first.
    if (pairing === undefined || !symmetric || request.codes.min !== -request.codes.max)
      return scales;
    const codeMax = Math.max(inputCodes.max + pairing.codeShift, 1);
    const sumMax = Math.floor(pairMax / codeMax);
    for (let row = 0; row < rows.channels; row++) {
      const needed = scaleAbove(largestPair(rows, row, pairing) / sumMax);
      const at = perChannel ? row : 0;
      if (needed > scales[at]!) scales[at] = needed;
    }
    return scales;
  },
});

/** Largest |w_a| + |w_b| of neighbours of the same sign in a row. */
function largestPair(
  { values, length }: WeightRows,
  row: number,
  { kernelPositions }: Pairing,
): number {
  const channels = length / kernelPositions;
  const weightAt = (product: number): number => {
    const channel = product % channels;
    const position = Math.floor(product / channels);
    return values[row * length + channel * kernelPositions + position]!;
  };
  let largest = 0;
  for (let product = 0; product + 1 < length; product += 2) {
    const first = weightAt(product);
    const second = weightAt(product + 1);
    if (first * second > 0) largest = Math.max(largest, Math.abs(first + second));
  }
  return largest;
}

/** The smallest float32 that is not below a value. */
function scaleAbove(value: number): number {
  const rounded = Math.fround(value);
  return rounded >= value ? rounded : Math.fround(value * (1 + 2 ** -23));
}
