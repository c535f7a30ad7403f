/**
 * The processors whose 8-bit arithmetic is emulated. They differ in how products of an unsigned and a
 * signed byte are added up, and in what they have kernels for.
 *
 * 1. `vnni`: VPDPBUSD adds four products to 32 bits; the sums are exact.
 * 2. `avx2`: VPMADDUBSW adds two neighbouring products to 16 bits and saturates, VPMADDWD then adds the
 *    pairs to 32 bits. AVX-512 without VNNI does the same with wider registers.
 * 3. `arm`: 64-bit Arm, with exact sums, and with kernels for signed activations, which x86 has not. It
 *    also adds codes (QLinearAdd) in integers, where x86 does it in float32.
 *
 * Source: onnxruntime 1.30, mlas/lib/x86_64/QgemmU8X8KernelAvx2.S, QgemvU8S8KernelAvx2.S,
 * ConvSymKernelAvx2.S, and platform.cpp for who uses which.
 */
export const processors = ["vnni", "avx2", "arm"] as const;

export type Processor = (typeof processors)[number];

/** What fits into the 16 bits of a pair. */
export const pairMin = -32768;
export const pairMax = 32767;

/** Largest code of an unsigned activation. */
export const activationCodeMax = 255;

/**
 * True when activations of up to `codeMax` can bring two products with these weights past 16 bits.
 * Weights of different sign never can: 255 · 128 is 32,640.
 */
export function canSaturate(first: number, second: number, codeMax = activationCodeMax): boolean {
  const high = codeMax * (Math.max(first, 0) + Math.max(second, 0));
  const low = codeMax * (Math.min(first, 0) + Math.min(second, 0));
  return high > pairMax || low < pairMin;
}
