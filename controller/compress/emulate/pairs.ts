/** Which pairs of products do not fit into the 16 bits that processors without VNNI add them in. */

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
