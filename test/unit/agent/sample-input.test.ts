/** What the local API takes as one sample: base64 or numbers, and nothing that only looks like them. */
import { describe, expect, it } from "vitest";
import { sampleBytes } from "../../../agent/serving/sample-input.ts";
import type { Dtype } from "../../../shared/artifact/bundle.ts";

const spec = (dtype: Dtype, shape: number[]) => ({
  tensor: "x",
  sample: { dtype, shape },
  steps: [],
});

describe("numbers", () => {
  it.each([
    ["uint8", [0, 255], [0, 255]],
    ["int8", [-128, 1], [128, 1]],
    ["bool", [true, 0], [1, 0]],
    ["int16", [-2, 258], [254, 255, 2, 1]],
    ["float16", [1, -2], [0, 60, 0, 192]],
    ["float32", [1, 0.5], [0, 0, 128, 63, 0, 0, 0, 63]],
    ["int64", [1, -1], [1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]],
  ] as const)("become little-endian %s", (dtype, values, bytes) => {
    expect([...sampleBytes(spec(dtype, [2]), values)]).toEqual(bytes);
  });
  it("keep the order of nested arrays", () => {
    const bytes = sampleBytes(spec("uint8", [2, 2]), [
      [1, 2],
      [3, 4],
    ]);
    expect([...bytes]).toEqual([1, 2, 3, 4]);
  });
  it.each([
    ["another shape", [1, 2, 3, 4]],
    ["a ragged array", [[1, 2], [3]]],
    [
      "too deep an array",
      [
        [[1], 2],
        [3, 4],
      ],
    ],
    [
      "a fraction",
      [
        [1, 2],
        [3, 4.5],
      ],
    ],
    [
      "a number out of range",
      [
        [1, 2],
        [3, 256],
      ],
    ],
    [
      "text",
      [
        [1, 2],
        [3, "4"],
      ],
    ],
    ["null", null],
  ])("are refused as %s", (_what, value) => {
    expect(() => sampleBytes(spec("uint8", [2, 2]), value)).toThrow(
      expect.objectContaining({ code: "input-invalid" }),
    );
  });
  it("must be finite", () => {
    expect(() => sampleBytes(spec("float32", [1]), [Number.POSITIVE_INFINITY])).toThrow(/float32/);
  });
});

describe("base64", () => {
  it("is decoded as it is", () => {
    expect([...sampleBytes(spec("uint8", [2]), "AQI=")]).toEqual([1, 2]);
  });
  it.each(["AQI", "AQ I=", "A===", "!!!!"])("is refused as %s", (text) => {
    expect(() => sampleBytes(spec("uint8", [2]), text)).toThrow(/not base64/);
  });
});
