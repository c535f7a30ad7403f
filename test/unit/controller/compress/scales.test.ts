/** The numbers of scales, zero points and biases: exactly those of onnxruntime. */
import { describe, expect, it } from "vitest";
import { roundToNearest } from "../../../../controller/compress/quantize/rounding/nearest.ts";
import {
  quantizeActivations,
  quantizeBias,
  quantizeWeights,
  roundHalfEven,
  scaleAndZeroPoint,
  weightCodes,
  weightScale,
} from "../../../../controller/compress/quantize/scale.ts";

const unsigned = { type: "uint8", codes: { min: 0, max: 255 }, symmetric: false } as const;

describe("scales", () => {
  // Computed with onnxruntime's compute_scale_zp by hand: step = (max - min) / 255 in float64 of a
  // float32 difference, zero point = round half even (-min / step).
  it.each([
    [
      { min: -1, max: 1 },
      { scale: Math.fround(2 / 255), zeroPoint: 128 },
    ],
    [
      { min: 0, max: 6 },
      { scale: Math.fround(6 / 255), zeroPoint: 0 },
    ],
    [
      { min: 0.5, max: 2 },
      { scale: Math.fround(2 / 255), zeroPoint: 0 },
    ],
    [
      { min: -3, max: -1 },
      { scale: Math.fround(3 / 255), zeroPoint: 255 },
    ],
    [
      { min: 0, max: 0 },
      { scale: 1, zeroPoint: 0 },
    ],
    // -min / step is 127.5: half goes to the even neighbour.
    [
      { min: -127.5, max: 127.5 },
      { scale: 1, zeroPoint: 128 },
    ],
    [
      { min: -126.5, max: 128.5 },
      { scale: 1, zeroPoint: 126 },
    ],
  ])("of activations in %j", (range, expected) => {
    expect(scaleAndZeroPoint(range, unsigned.codes, false)).toEqual(expected);
  });

  it("of weights are symmetric, or narrower by one bit", () => {
    expect(weightScale(12.7, weightCodes(false))).toBe(Math.fround(Math.fround(25.4) / 254));
    expect(weightScale(6.4, weightCodes(true))).toBe(Math.fround(Math.fround(12.8) / 128));
    expect(weightScale(0, weightCodes(false))).toBe(1);
  });

  it("round half to even and clip", () => {
    expect([0.5, 1.5, 2.5, -0.5, -1.5, 2.4999, 2.5001].map(roundHalfEven)).toEqual([
      0, 2, 2, 0, -2, 2, 3,
    ]);
    const layout = { groups: 1, outer: 1, channels: 1, inner: 5, axis: 0 };
    const weights = Float32Array.of(0.5, 1.5, -2.5, 300, -300);
    expect([...quantizeWeights(weights, layout, Float32Array.of(1), weightCodes(false))]).toEqual([
      0, 2, -2, 127, -127,
    ]);
    const activations = Float32Array.of(-1, 0.5, 1.5, 1000);
    expect([...quantizeActivations(activations, { scale: 1, zeroPoint: 0 }, unsigned)]).toEqual([
      0, 0, 2, 255,
    ]);
    expect([...quantizeBias(Float32Array.of(2.5, 1e30), Float32Array.of(1))]).toEqual([
      2,
      2 ** 31 - 1,
    ]);
  });
});

describe("weights", () => {
  it("go to the nearest code of their row, a tie to the even one", () => {
    const codes = { min: -64, max: 63 };
    // Halves of steps, what lies beside them, and what is beyond the codes.
    const row = Array.from({ length: 600 }, (_, at) => (at - 300) / 4 + (at % 5) * 1e-4);
    const scales = Float32Array.of(1, 0.37);
    const values = Float32Array.of(...row, ...row, Number.POSITIVE_INFINITY, -0);
    const whole = { values, channels: 1, length: values.length };
    const rows = { values: values.subarray(0, 1200), channels: 2, length: 600 };
    const expected = (value: number, scale: number) =>
      Math.min(Math.max(roundHalfEven(Math.fround(value / scale)), codes.min), codes.max) + 0;
    expect([...roundToNearest({ rows, scales, codes })]).toEqual(
      [...rows.values].map((value, at) => expected(value, scales[at < 600 ? 0 : 1]!)),
    );
    const one = Float32Array.of(0.5);
    expect([...roundToNearest({ rows: whole, scales: one, codes })]).toEqual(
      [...values].map((value) => expected(value, 0.5)),
    );
  });
});
