/**
 * Matrix products of 8-bit codes with 32-bit sums, as a processor computes them.
 *
 * rows uint8 or int8 [M, K] times weights int8 or uint8 [N, K] gives int32 [M, N]:
 *   sum(m, n) = Σ_k rows[m, k] · weights[n, k], wrapping at 32 bits.
 * Pairs that saturate are those of columns 2i and 2i + 1 of K: the kernels read K in groups of four bytes
 * (onnxruntime 1.30, mlas/lib/qgemm_kernel_type.h, PackedK 4), and a last odd column pairs with nothing.
 * Only unsigned rows with signed weights saturate: two unsigned operands are widened to 16 bits first.
 *
 * Invariant: the exact sum is computed first, then corrected by what each saturated pair lost; a matrix
 * without a pair at risk costs the same on every processor.
 */
import type { Processor } from "../../../shared/devices/processor.ts";
import { canSaturate, pairMax, pairMin } from "./pairs.ts";

export type CodeArray = Uint8Array | Int8Array;

/** Weights as columns of the product, ready to be multiplied by. */
export interface PackedWeights {
  readonly columns: number;
  readonly depth: number;
  /** [columns, depth]. */
  readonly codes: Int16Array;
  /** Sum of each column's codes, which the rows' zero point multiplies. */
  readonly sums: Int32Array;
  /** Where pairs can saturate: positions in K of the first of each pair, column after column. */
  readonly risks: Int32Array;
  /** Column n has the risks from `riskStarts[n]` up to `riskStarts[n + 1]`. */
  readonly riskStarts: Int32Array;
}

/** Packs codes that lie as [columns, depth]. */
export function packWeights(
  codes: CodeArray,
  columns: number,
  depth: number,
  processor: Processor,
): PackedWeights {
  const packed = new Int16Array(codes);
  const sums = new Int32Array(columns);
  const risks: number[] = [];
  const riskStarts = new Int32Array(columns + 1);
  const saturates = processor === "avx2" && codes instanceof Int8Array;
  for (let column = 0; column < columns; column++) {
    const start = column * depth;
    for (let k = 0; k < depth; k++) sums[column]! += packed[start + k]!;
    for (let k = 0; saturates && k + 1 < depth; k += 2) {
      if (canSaturate(packed[start + k]!, packed[start + k + 1]!)) risks.push(k);
    }
    riskStarts[column + 1] = risks.length;
  }
  return { columns, depth, codes: packed, sums, risks: Int32Array.from(risks), riskStarts };
}

/** Writes the sums [rowCount, columns] of rows [rowCount, depth] into `sums`. */
export function multiply(
  rows: CodeArray,
  rowCount: number,
  weights: PackedWeights,
  sums: Int32Array,
): void {
  const { columns, depth, codes } = weights;
  for (let row = 0; row < rowCount; row++) {
    const from = row * depth;
    const to = row * columns;
    let column = 0;
    for (; column + 4 <= columns; column += 4) {
      const first = column * depth;
      const second = first + depth;
      const third = second + depth;
      const fourth = third + depth;
      let a = 0;
      let b = 0;
      let c = 0;
      let d = 0;
      for (let k = 0; k < depth; k++) {
        const value = rows[from + k]!;
        a = (a + Math.imul(value, codes[first + k]!)) | 0;
        b = (b + Math.imul(value, codes[second + k]!)) | 0;
        c = (c + Math.imul(value, codes[third + k]!)) | 0;
        d = (d + Math.imul(value, codes[fourth + k]!)) | 0;
      }
      sums[to + column] = a;
      sums[to + column + 1] = b;
      sums[to + column + 2] = c;
      sums[to + column + 3] = d;
    }
    for (; column < columns; column++) {
      const start = column * depth;
      let sum = 0;
      for (let k = 0; k < depth; k++) {
        sum = (sum + Math.imul(rows[from + k]!, codes[start + k]!)) | 0;
      }
      sums[to + column] = sum;
    }
  }
  if (weights.risks.length > 0 && rows instanceof Uint8Array)
    saturate(rows, rowCount, weights, sums);
}

/** Takes from the sums what saturated pairs lose. */
function saturate(
  rows: Uint8Array,
  rowCount: number,
  { columns, depth, codes, risks, riskStarts }: PackedWeights,
  sums: Int32Array,
): void {
  for (let row = 0; row < rowCount; row++) {
    const from = row * depth;
    for (let column = 0; column < columns; column++) {
      const start = column * depth;
      const end = riskStarts[column + 1]!;
      let lost = 0;
      for (let risk = riskStarts[column]!; risk < end; risk++) {
        const k = risks[risk]!;
        const pair =
          Math.imul(rows[from + k]!, codes[start + k]!) +
          Math.imul(rows[from + k + 1]!, codes[start + k + 1]!);
        if (pair > pairMax) lost += pair - pairMax;
        else if (pair < pairMin) lost += pair - pairMin;
      }
      if (lost !== 0) sums[row * columns + column]! -= lost;
    }
  }
}
