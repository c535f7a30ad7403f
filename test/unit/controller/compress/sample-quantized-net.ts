/** A small net in QDQ form, written by hand, as another tool would have made it. */
import type { NodeProto, TensorProto } from "../../../../controller/onnx/schema.ts";
import { floatTensor, intTensor, makeTensor } from "../../../../controller/onnx/tensor.ts";
import { randomValues } from "../onnx/sample-models.ts";
import { buildModel, feedsOf, node, type SampleNet } from "./sample-nets.ts";

export const int8Tensor = (name: string, shape: readonly number[], seed: number): TensorProto => {
  const count = shape.reduce((product, dim) => product * dim, 1);
  const data = Int8Array.from(randomValues(seed, count, 45), Math.round);
  return makeTensor({ name, type: "int8", shape, data });
};

export const int32Tensor = (name: string, values: readonly number[]): TensorProto =>
  makeTensor({ name, type: "int32", shape: [values.length], data: Int32Array.from(values) });

export const byteTensor = (name: string, value: number): TensorProto =>
  makeTensor({ name, type: "uint8", shape: [], data: Uint8Array.of(value) });

/** QuantizeLinear of `value` into `${value}_q` and DequantizeLinear into `${value}_d`. */
export const pair = (value: string, scale: string, zeroPoint: string): NodeProto[] => [
  node("QuantizeLinear", [value, scale, zeroPoint], [`${value}_q`]),
  node("DequantizeLinear", [`${value}_q`, scale, zeroPoint], [`${value}_d`]),
];

export const quantizedNet: SampleNet = {
  name: "net in QDQ form",
  feeds: feedsOf([1, 4, 8, 8]),
  model: () =>
    buildModel({
      opset: 13,
      inputShape: [1, 4, 8, 8],
      nodes: [
        ...pair("x", "sx", "zx"),
        node("DequantizeLinear", ["w", "sw", "zw"], ["w_d"], { axis: { int: 0 } }),
        node("DequantizeLinear", ["b", "sb"], ["b_d"], { axis: { int: 0 } }),
        node("Conv", ["x_d", "w_d", "b_d"], ["c"], { pads: { ints: [1, 1, 1, 1] } }),
        node("Relu", ["c"], ["r"]),
        ...pair("r", "sr", "z0"),
        node("MaxPool", ["r_d"], ["p"], {
          kernel_shape: { ints: [2, 2] },
          strides: { ints: [2, 2] },
        }),
        ...pair("p", "sr", "z0"),
        node("Sigmoid", ["p_d"], ["g"]),
        ...pair("g", "sg", "z0"),
        node("Mul", ["p_d", "g_d"], ["m"]),
        ...pair("m", "sr", "z0"),
        node("GlobalAveragePool", ["m_d"], ["a"]),
        ...pair("a", "sr", "z0"),
        node("Reshape", ["a_d", "flat"], ["f"]),
        ...pair("f", "sr", "z0"),
        node("DequantizeLinear", ["wg", "swg", "zwg"], ["wg_d"], { axis: { int: 1 } }),
        node("Gemm", ["f_d", "wg_d"], ["y"]),
      ],
      initializers: [
        floatTensor("sx", [], [0.03]),
        byteTensor("zx", 120),
        int8Tensor("w", [6, 4, 3, 3], 1),
        floatTensor("sw", [6], [0.004, 0.005, 0.006, 0.007, 0.008, 0.009]),
        makeTensor({ name: "zw", type: "int8", shape: [6], data: new Int8Array(6) }),
        int32Tensor("b", [900, -400, 1000, 0, 70, 300]),
        floatTensor(
          "sb",
          [6],
          [0.004, 0.005, 0.006, 0.007, 0.008, 0.009].map(
            (scale) => Math.fround(scale) * Math.fround(0.03),
          ),
        ),
        floatTensor("sr", [], [0.02]),
        byteTensor("z0", 0),
        floatTensor("sg", [], [1 / 256]),
        intTensor("flat", [1, 6]),
        int8Tensor("wg", [6, 3], 2),
        floatTensor("swg", [3], [0.01, 0.02, 0.03]),
        makeTensor({ name: "zwg", type: "int8", shape: [3], data: new Int8Array(3) }),
      ],
    }),
};
