/**
 * From 32-bit sums and floats to codes and back, in the single-precision steps of onnxruntime's kernels.
 *
 * 1. sum int32 → float32, times scale (float32), clamped to the codes less the zero point, rounded half
 *    to even, plus the zero point.
 * 2. float32 divided by scale, then as in 1.
 * 3. (code − zero point) · scale.
 *
 * Source: onnxruntime 1.30, mlas/lib/quantize.cpp, MlasRequantizeOutput and MlasQuantizeLinearKernel;
 * ConvSymKernelAvx2.S, ConvertFloatToIntegerRegList; qpostprocessor.cpp.
 */
export type CodeType = "uint8" | "int8";

/** How codes stand for values: value = (code − zeroPoint) · scale. */
export interface CodeParameters {
  readonly type: CodeType;
  /** float32. */
  readonly scale: number;
  readonly zeroPoint: number;
}

/** A number whose addition leaves no room for a fraction: the sum is rounded half to even. */
const roundingShift = 2 ** 52 + 2 ** 51;

const limits = { uint8: { min: 0, max: 255 }, int8: { min: -128, max: 127 } } as const;

/** An empty array for `length` codes of a type. */
export function codeArray(
  type: CodeType,
  length: number,
): Uint8Array<ArrayBuffer> | Int8Array<ArrayBuffer> {
  return type === "uint8" ? new Uint8Array(length) : new Int8Array(length);
}

/** What turns a float32 number in units of the output's scale into a code. */
export function coder({ type, zeroPoint }: CodeParameters): (value: number) => number {
  const min = limits[type].min - zeroPoint;
  const max = limits[type].max - zeroPoint;
  return (value) => {
    // NaN becomes the lowest code: MAXPS yields its second operand then.
    const clamped = value > min ? Math.min(value, max) : min;
    return roundFast(clamped) + zeroPoint;
  };
}

/** What turns a float32 number of codes, the zero point within it, into a code. */
export function saturator(type: CodeType): (value: number) => number {
  const { min, max } = limits[type];
  return (value) => Math.min(Math.max(roundFast(value), min), max);
}

/** Rounds half to even; for |value| < 2^51. */
function roundFast(value: number): number {
  return value + roundingShift - roundingShift;
}

/** Codes of floats. */
export function quantize(
  values: Float32Array,
  parameters: CodeParameters,
): Uint8Array<ArrayBuffer> | Int8Array<ArrayBuffer> {
  const codes = codeArray(parameters.type, values.length);
  const encode = coder(parameters);
  for (let index = 0; index < values.length; index++) {
    codes[index] = encode(Math.fround(values[index]! / parameters.scale));
  }
  return codes;
}

/** float32 product of float32 factors, then divided where a divisor is given. */
export function outputScale(input: number, weight: number, output?: number): number {
  const product = Math.fround(input * weight);
  return output === undefined ? product : Math.fround(product / output);
}
