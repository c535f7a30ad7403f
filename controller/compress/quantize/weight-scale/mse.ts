/**
 * The scale with which rounding to nearest loses least: the largest magnitudes may be cut where that
 * resolves all others more finely.
 *
 * Candidates are 1, 0.99 … 0.2 of the scale of the largest magnitude. With the Gram matrix a candidate's
 * loss is the sum of G_kk · d_k^2, each input's mean energy times the squared deviation of its weight;
 * without one the sum of |d_k|^2.4. The largest scale wins a tie, so a weight that fits its grid stays.
 *
 * Source: Frantar et al. 2022, "GPTQ", quantizer of the published code (grid of 100 steps down to a
 * shrink of 0.8, norm 2.4); the weighting by the diagonal of the Hessian as in SqueezeLLM, Kim et al. 2023.
 */
import { clamp, type Range, roundHalfEven } from "../scale.ts";
import type { WeightRows } from "../weight-rows.ts";
import { maxScales } from "./max.ts";
import { defineWeightScale, type WeightScaleRequest } from "./strategy.ts";

const candidates = Float64Array.from({ length: 81 }, (_, step) => 1 - step / 100);

const norm = 2.4;

export const mseScale = defineWeightScale({
  name: "mse",
  options: {},
  needsGram: true,
  scales(request) {
    const { channels } = request.rows;
    const widest = maxScales(request);
    if (!request.perChannel) {
      const losses = candidates.map((share) => {
        const scale = Math.fround(widest[0]! * share);
        let loss = 0;
        for (let row = 0; row < channels; row++) loss += rowLoss(request, row, scale);
        return loss;
      });
      return Float32Array.of(widest[0]! * candidates[leastOf(losses)]!);
    }
    return widest.map((scale, row) => {
      const losses = candidates.map((share) => rowLoss(request, row, Math.fround(scale * share)));
      return scale * candidates[leastOf(losses)]!;
    });
  },
});

function rowLoss({ rows, codes, gram }: WeightScaleRequest, row: number, scale: number): number {
  const matrix = gram?.[Math.floor((row * gram.length) / rows.channels)];
  return matrix === undefined
    ? plainLoss(rows, row, scale, codes)
    : weightedLoss(rows, row, scale, codes, matrix);
}

function plainLoss(
  { values, length }: WeightRows,
  row: number,
  scale: number,
  codes: Range,
): number {
  let loss = 0;
  for (let index = row * length; index < (row + 1) * length; index++) {
    loss += Math.abs(deviation(values[index]!, scale, codes)) ** norm;
  }
  return loss;
}

function weightedLoss(
  { values, length }: WeightRows,
  row: number,
  scale: number,
  codes: Range,
  matrix: Float64Array,
): number {
  let loss = 0;
  for (let at = 0; at < length; at++) {
    const lost = deviation(values[row * length + at]!, scale, codes);
    loss += matrix[at * length + at]! * lost * lost;
  }
  return loss;
}

function deviation(value: number, scale: number, codes: Range): number {
  return value - scale * clamp(roundHalfEven(Math.fround(value / scale)), codes);
}

/** Where the least is; the first of equal ones. */
function leastOf(losses: Float64Array): number {
  return losses.reduce((best, loss, at) => (loss < losses[best]! ? at : best), 0);
}
