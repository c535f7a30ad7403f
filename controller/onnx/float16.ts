/**
 * IEEE half precision, held as its 16 bits. Rounding is half to even, as in numpy and onnxruntime.
 * Node 24 has no Float16Array without a flag, hence own code.
 */

/** Largest finite half (IEEE 754 binary16). */
export const float16Max = 65504;

/** Bits of the half nearest to `value`; beyond the range it becomes infinity. */
export function toFloat16Bits(value: number): number {
  // Rounding a double to float first and then to half would round twice.
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (Number.isNaN(magnitude)) return 0x7e00;
  // Halfway between 65504 and the next power of two rounds away, to infinity.
  if (magnitude >= 65520) return sign | 0x7c00;
  if (magnitude < 2 ** -14) return sign | roundHalfEven(magnitude * 2 ** 24);
  const exponent = Math.floor(Math.log2(magnitude));
  // log2 may be off by one beside a power of two.
  const exact =
    magnitude >= 2 ** (exponent + 1)
      ? exponent + 1
      : magnitude < 2 ** exponent
        ? exponent - 1
        : exponent;
  const mantissa = roundHalfEven((magnitude / 2 ** exact - 1) * 1024);
  // A mantissa of 1024 carries into the exponent, which is what the sum does.
  return sign | (((exact + 15) << 10) + mantissa);
}

/** The value of a half. */
export function fromFloat16Bits(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 31) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

/** Rounds to the nearest integer, a tie to the even one; exact for |value| < 2^52. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest < 0.5) return floor;
  if (rest > 0.5) return floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}
