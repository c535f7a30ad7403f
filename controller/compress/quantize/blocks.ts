/**
 * Weights in blocks: each row of a weight [rows, length] is cut into blocks of `blockSize` values, the
 * last one shorter, and each block has a scale and a zero point of its own. Codes are unsigned, 0 to
 * 2^bits - 1, a value is (code - zeroPoint) · scale, and a symmetric block has its zero point in the
 * middle. Scales may be negative: then the extreme value gets the code that has no counterpart.
 *
 * Source: onnxruntime 1.30, docs/ContribOperators.md, MatMulNBits; the packing is that of its B.
 */
import type { BlockFormat, BlockParameters, BlockScale, CodeBits } from "./block-scale/strategy.ts";
import { roundWithFeedback } from "./error-feedback.ts";
import { roundHalfEven } from "./scale.ts";
import type { Gram, WeightRows } from "./weight-rows.ts";

export interface BlockCodes {
  /** [rows, blocks · blockSize]; behind the end of a row lie zero points. */
  readonly codes: Uint8Array;
  /** float32 [rows, blocks]. */
  readonly scales: Float32Array;
  /** [rows, blocks]. */
  readonly zeroPoints: Uint8Array;
  /** Blocks per row. */
  readonly blocks: number;
}

/**
 * Codes of every row; the strategy chooses each block's parameters. Rounding is to the nearest, or with
 * a Gram matrix of the layer's inputs by error feedback.
 */
export function quantizeBlocks(
  rows: WeightRows,
  format: BlockFormat,
  strategy: BlockScale,
  gram?: Gram,
): BlockCodes {
  const { values, channels, length } = rows;
  const { blockSize, bits } = format;
  const blocks = Math.ceil(length / blockSize);
  const codes = new Uint8Array(channels * blocks * blockSize);
  const scales = new Float32Array(channels * blocks);
  const zeroPoints = new Uint8Array(channels * blocks);
  for (let at = 0; at < scales.length; at++) {
    const start = Math.floor(at / blocks) * length + (at % blocks) * blockSize;
    const end = Math.min(start + blockSize, (Math.floor(at / blocks) + 1) * length);
    const block = values.subarray(start, end);
    const parameters = strategy.parameters(block, format);
    scales[at] = parameters.scale;
    zeroPoints[at] = parameters.zeroPoint;
    const row = codes.subarray(at * blockSize, (at + 1) * blockSize).fill(parameters.zeroPoint);
    for (let index = 0; index < block.length; index++) {
      row[index] = codeOf(block[index]!, parameters, bits);
    }
  }
  if (gram !== undefined) {
    const grid = { rows, scales, zeroPoints, blockLength: blockSize };
    const fed = roundWithFeedback({ ...grid, codes: { min: 0, max: 2 ** bits - 1 }, gram });
    for (let row = 0; row < channels; row++) {
      codes.set(fed.subarray(row * length, (row + 1) * length), row * blocks * blockSize);
    }
  }
  return { codes, scales, zeroPoints, blocks };
}

/** The stored code of a value. */
export function codeOf(
  value: number,
  { scale, zeroPoint }: BlockParameters,
  bits: CodeBits,
): number {
  const code = roundHalfEven(Math.fround(value / scale)) + zeroPoint;
  return Math.min(Math.max(code, 0), 2 ** bits - 1);
}

/**
 * Codes below 8 bits packed, the first one in the lowest bits; each row of `rowLength` codes starts with
 * a new byte.
 */
export function packRows(codes: Uint8Array, rowLength: number, bits: CodeBits): Uint8Array {
  if (bits === 8) return codes;
  const perByte = 8 / bits;
  const rowBytes = Math.ceil(rowLength / perByte);
  const packed = new Uint8Array((codes.length / rowLength) * rowBytes);
  for (let index = 0; index < codes.length; index++) {
    const column = index % rowLength;
    const at = Math.floor(index / rowLength) * rowBytes + Math.floor(column / perByte);
    packed[at]! |= codes[index]! << (bits * (column % perByte));
  }
  return packed;
}
