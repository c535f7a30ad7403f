/** Weights as rows of output channels, whichever way round they are stored. */
import { describe, expect, it } from "vitest";
import { toLayout, weightRows } from "../../../../controller/compress/quantize/weight-rows.ts";

const counted = (count: number) => Float32Array.from({ length: count }, (_, index) => index);

describe("weight rows", () => {
  it("of a Conv are the weight itself", () => {
    const layout = { groups: 1, outer: 1, channels: 2, inner: 3, axis: 0 };
    const values = counted(6);
    const rows = weightRows(values, layout);
    expect(rows).toEqual({ values, channels: 2, length: 3 });
    expect(rows.values).toBe(values);
  });

  it("of a MatMul [K, N] are its columns", () => {
    const layout = { groups: 1, outer: 3, channels: 2, inner: 1, axis: 1 };
    const { values, channels, length } = weightRows(counted(6), layout);
    expect([...values]).toEqual([0, 2, 4, 1, 3, 5]);
    expect([channels, length]).toEqual([2, 3]);
  });

  it.each([
    { groups: 1, outer: 3, channels: 2, inner: 1, axis: 1 },
    { groups: 2, outer: 2, channels: 3, inner: 4, axis: 1 },
    { groups: 1, outer: 1, channels: 4, inner: 3, axis: 0 },
  ])("go back into the layout %j", (layout) => {
    const count = layout.groups * layout.outer * layout.channels * layout.inner;
    const rows = weightRows(counted(count), layout);
    const back = toLayout(Int16Array.from(rows.values), layout);
    expect([...back]).toEqual([...counted(count)]);
  });

  it("of a weight without channels are one row", () => {
    expect(weightRows(counted(4), undefined)).toMatchObject({ channels: 1, length: 4 });
  });
});
