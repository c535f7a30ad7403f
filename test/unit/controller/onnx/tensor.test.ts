/** Tensors in both stored forms and of every element type. */
import { describe, expect, it } from "vitest";
import {
  type DataType,
  dataTypes,
  type TensorData,
} from "../../../../controller/onnx/data-type.ts";
import type { TensorProto } from "../../../../controller/onnx/schema.ts";
import {
  floatTensor,
  intTensor,
  makeTensor,
  tensorBytes,
  tensorData,
  tensorFloats,
  tensorNumbers,
  tensorShape,
} from "../../../../controller/onnx/tensor.ts";

const samples: Readonly<Record<Exclude<DataType, "uint4" | "int4">, TensorData>> = {
  float32: Float32Array.of(1.5, -2),
  float64: Float64Array.of(Math.PI, -2),
  float16: Float16Array.of(1, -2),
  bfloat16: Uint16Array.of(0x3f80, 0xc000),
  int8: Int8Array.of(-128, 127),
  uint8: Uint8Array.of(0, 255),
  int16: Int16Array.of(-32768, 32767),
  uint16: Uint16Array.of(0, 65535),
  int32: Int32Array.of(-(2 ** 31), 2 ** 31 - 1),
  uint32: Uint32Array.of(0, 2 ** 32 - 1),
  int64: BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n),
  uint64: BigUint64Array.of(0n, 2n ** 64n - 1n),
  bool: Uint8Array.of(0, 1),
};

/** The same tensor with its data in the typed list that its type uses. */
function listed(tensor: TensorProto, type: DataType, data: TensorData): TensorProto {
  const { rawData: _unused, ...base } = tensor;
  if (type === "float32") return { ...base, floatData: data as Float32Array };
  if (type === "float64") return { ...base, doubleData: data as Float64Array };
  if (type === "int64") return { ...base, int64Data: data as BigInt64Array };
  if (type === "uint64") return { ...base, uint64Data: data as BigUint64Array };
  if (type === "uint32") {
    return { ...base, uint64Data: BigUint64Array.from(data as Uint32Array, BigInt) };
  }
  const bits = type === "float16" ? new Uint16Array((data as Float16Array).buffer) : data;
  return { ...base, int32Data: Int32Array.from(bits as Int32Array) };
}

describe("element types", () => {
  it.each(Object.keys(samples) as (keyof typeof samples)[])("%s reads both forms", (type) => {
    const data = samples[type];
    const tensor = makeTensor({ name: "t", type, shape: [2], data: data as never });
    expect(tensorData(tensor)).toEqual(data);
    expect(tensorData(listed(tensor, type, data))).toEqual(data);
    expect(tensorBytes(tensor)).toBe((2 * dataTypes[type].bits) / 8);
  });

  it("reads raw data that are not aligned", () => {
    const tensor = floatTensor("t", [2], [1.5, -2]);
    const shifted = new Uint8Array(9);
    shifted.set(tensor.rawData!, 1);
    const moved = { ...tensor, rawData: shifted.subarray(1) };
    expect(tensorData(moved)).toEqual(Float32Array.of(1.5, -2));
  });

  it("floats of any precision become float32", () => {
    const of = (type: keyof typeof samples): Float32Array =>
      tensorFloats(makeTensor({ name: "t", type, shape: [2], data: samples[type] as never }));
    expect([...of("float16")]).toEqual([1, -2]);
    expect([...of("bfloat16")]).toEqual([1, -2]);
    expect([...of("float64")]).toEqual([Math.fround(Math.PI), -2]);
    expect(() => of("int8")).toThrow("floating point");
  });

  it("small integers become numbers, too large ones are refused", () => {
    expect(tensorNumbers(intTensor("axes", [0, -1]))).toEqual([0, -1]);
    const large = { ...intTensor("t", [1]), rawData: new Uint8Array(8).fill(0x7f) };
    expect(() => tensorNumbers(large)).toThrow("holds");
  });

  it("scalars have one element and an empty shape", () => {
    const scalar = floatTensor("s", [], [3]);
    expect(tensorShape(scalar)).toEqual([]);
    expect(tensorNumbers(scalar)).toEqual([3]);
  });
});

describe("faults", () => {
  it("refuses data that do not fill the shape", () => {
    const tensor = floatTensor("t", [2], [1, 2]);
    expect(() => tensorData({ ...tensor, dims: [3n] })).toThrow("are due");
    expect(() => tensorData({ ...tensor, dims: [-1n] })).toThrow("dim -1");
    const { rawData: _unused, ...nothing } = tensor;
    expect(() => tensorData(nothing)).toThrow("are due");
  });

  it("refuses data in another file", () => {
    const external = { ...floatTensor("t", [1], [1]), dataLocation: 1 };
    expect(() => tensorData(external)).toThrow("another file");
  });
});
