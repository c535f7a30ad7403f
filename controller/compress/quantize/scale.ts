/**
 * From ranges to scales, zero points and integers, in the very steps of onnxruntime's quantizer, so
 * that the same ranges give the same files.
 * Source: onnxruntime 1.30, quantization/quant_utils.py, compute_scale_zp and quantize_nparray.
 */
import type { ChannelLayout } from "../../onnx/ops/op-fact.ts";

/** The values that a tensor takes; both ends are reached. */
export interface Range {
  readonly min: number;
  readonly max: number;
}

/** How activations are stored. */
export interface ActivationFormat {
  readonly type: "uint8" | "int8";
  /** Stored codes, both ends included. */
  readonly codes: Range;
  /** The zero point is in the middle, whatever the range. */
  readonly symmetric: boolean;
}

export interface QuantizationParameters {
  /** float32. */
  readonly scale: number;
  readonly zeroPoint: number;
}

/** numpy.finfo(float32).tiny: a scale below it counts as no scale. */
const scaleMin = 1.1754943508222875e-38;

/**
 * Codes of symmetric int8 weights. The reduced ones keep the sum of two products below the 16 bits
 * in which x86 without VNNI adds them (2 · 255 · 64 < 32768).
 */
export function weightCodes(reduceRange: boolean): Range {
  return reduceRange ? { min: -64, max: 64 } : { min: -127, max: 127 };
}

/**
 * Scale and zero point with which `codes` span a range. It is widened to hold 0, which padding and
 * ReLU need exactly; a symmetric one reaches as far on both sides and has its zero point in the middle.
 */
export function scaleAndZeroPoint(
  range: Range,
  codes: Range,
  symmetric: boolean,
): QuantizationParameters {
  const low = Math.fround(Math.min(range.min, 0));
  const high = Math.fround(Math.max(range.max, 0));
  const magnitude = Math.max(-low, high);
  const [min, max] = symmetric ? [-magnitude, magnitude] : [low, high];
  const step = Math.fround(max - min) / (codes.max - codes.min);
  if (step < scaleMin) return { scale: 1, zeroPoint: 0 };
  const zeroPoint = symmetric
    ? roundHalfEven((codes.min + codes.max) / 2)
    : roundHalfEven(codes.min - min / step);
  return { scale: Math.fround(step), zeroPoint: clamp(zeroPoint, codes) };
}

/** Smallest and largest of values and 0. */
export function rangeOf(values: Float32Array): Range {
  let min = 0;
  let max = 0;
  // By index: iterators take four times as long.
  for (let index = 0; index < values.length; index++) {
    const value = values[index]!;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  return { min, max };
}

/** Symmetric scale of weights whose largest magnitude is `magnitude`. */
export function weightScale(magnitude: number, codes: Range): number {
  const step = Math.fround(2 * magnitude) / (codes.max - codes.min);
  return step < scaleMin ? 1 : Math.fround(step);
}

/** Stored codes of values. */
export function quantizeActivations(
  values: Float32Array,
  { scale, zeroPoint }: QuantizationParameters,
  { type, codes }: ActivationFormat,
): Uint8Array | Int8Array {
  const stored = type === "uint8" ? new Uint8Array(values.length) : new Int8Array(values.length);
  for (let index = 0; index < values.length; index++) {
    stored[index] = clamp(roundHalfEven(Math.fround(values[index]! / scale)) + zeroPoint, codes);
  }
  return stored;
}

/** Largest magnitude per output channel; one entry for all when `perChannel` is false. */
export function channelMagnitudes(
  weights: Float32Array,
  layout: ChannelLayout,
  perChannel: boolean,
): Float32Array {
  const magnitudes = new Float32Array(perChannel ? layout.channels * layout.groups : 1);
  forEachChannel(layout, (channel, index) => {
    const at = perChannel ? channel : 0;
    const magnitude = Math.abs(weights[index]!);
    if (magnitude > magnitudes[at]!) magnitudes[at] = magnitude;
  });
  return magnitudes;
}

/** int8 codes of weights with one scale per output channel, or one for all. */
export function quantizeWeights(
  weights: Float32Array,
  layout: ChannelLayout,
  scales: Float32Array,
  codes: Range,
): Int8Array {
  const result = new Int8Array(weights.length);
  forEachChannel(layout, (channel, index) => {
    const scale = scales[scales.length === 1 ? 0 : channel]!;
    result[index] = clamp(roundHalfEven(Math.fround(weights[index]! / scale)), codes);
  });
  return result;
}

/** Calls back for each element with its output channel, in the order of the data. */
export function forEachChannel(
  layout: ChannelLayout,
  visit: (channel: number, index: number) => void,
): void {
  const { groups, outer, channels, inner } = layout;
  let index = 0;
  for (let group = 0; group < groups; group++) {
    for (let row = 0; row < outer; row++) {
      for (let channel = 0; channel < channels; channel++) {
        const output = group * channels + channel;
        for (let element = 0; element < inner; element++) visit(output, index++);
      }
    }
  }
}

/** int32 codes of a bias whose scale is that of the products it is added to. */
export function quantizeBias(bias: Float32Array, scales: Float32Array): Int32Array {
  return Int32Array.from(bias, (value, channel) => {
    const scale = scales[scales.length === 1 ? 0 : channel]!;
    return clamp(roundHalfEven(value / scale), { min: -(2 ** 31), max: 2 ** 31 - 1 });
  });
}

/**
 * A weight scale, made larger by the ratio that a bias lacks to fit into int32 (onnxruntime issue
 * 11415). The factor leaves room for rounding.
 * Source: onnxruntime 1.30, quantization/qdq_quantizer.py, _adjust_weight_scale_for_int32_bias, which
 * multiplies in float32 per channel and in float64 per tensor.
 */
export function raisedScale(
  scale: number,
  bias: number,
  inputScale: number,
  perChannel: boolean,
): number {
  const span = 2 * Math.abs(bias);
  const roomy = perChannel ? Math.fround(Math.fround(1.0001) * span) : 1.0001 * span;
  const smallest = roomy / 4294967294;
  const product = inputScale * scale;
  return product < smallest ? Math.fround(scale * (smallest / product)) : scale;
}

/** Rounds to the nearest integer, a tie to the even one, as numpy does; exact for |value| < 2^52. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest < 0.5) return floor;
  if (rest > 0.5) return floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

export function clamp(value: number, range: Range): number {
  return Math.min(Math.max(value, range.min), range.max);
}
