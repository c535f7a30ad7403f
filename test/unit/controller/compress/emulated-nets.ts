/** Nets of one quantized operator each, in the forms in which kernels differ. */
import type { TensorValue } from "../../../../controller/compress/execute.ts";
import type { Model } from "../../../../controller/onnx/model.ts";
import type { NodeProto, TensorProto } from "../../../../controller/onnx/schema.ts";
import { floatTensor, intTensor } from "../../../../controller/onnx/tensor.ts";
import { randomValues } from "../onnx/sample-models.ts";
import { buildModel, feedsOf, node } from "./sample-nets.ts";

export interface EmulatedNet {
  readonly name: string;
  readonly model: () => Model;
  readonly feeds: (seed: number) => ReadonlyMap<string, TensorValue>;
}

const filled = (name: string, shape: readonly number[], seed: number, spread = 1): TensorProto =>
  floatTensor(
    name,
    shape,
    randomValues(
      seed,
      shape.reduce((all, dim) => all * dim, 1),
      spread,
    ),
  );

const ints = (...values: number[]) => ({ ints: values });

function net(
  name: string,
  inputShape: readonly number[],
  nodes: readonly NodeProto[],
  initializers: readonly TensorProto[] = [],
): EmulatedNet {
  return {
    name,
    model: () => buildModel({ opset: 13, inputShape, nodes, initializers }),
    feeds: feedsOf(inputShape),
  };
}

/** One convolution with weights [outputs, channels, kernel…]. */
function convolution(
  name: string,
  inputShape: readonly number[],
  weightShape: readonly number[],
  attributes: Parameters<typeof node>[3] = {},
): EmulatedNet {
  const tensors = [filled("w", weightShape, 3), filled("b", [weightShape[0]!], 4)];
  return net(name, inputShape, [node("Conv", ["x", "w", "b"], ["y"], attributes)], tensors);
}

const head = [node("Conv", ["x", "w", "b"], ["c"], {}), node("Relu", ["c"], ["r"])];
const headTensors = [filled("w", [8, 4, 1, 1], 1), filled("b", [8], 2)];
const image = [2, 4, 6, 6];

/** A convolution, then `nodes` from its codes `r` to `m`, then a convolution that keeps `m` quantized. */
function between(
  name: string,
  nodes: readonly NodeProto[],
  options: { readonly tensors?: readonly TensorProto[]; readonly channels?: number } = {},
): EmulatedNet {
  const last = [filled("v", [4, options.channels ?? 8, 1, 1], 5)];
  const tensors = [...headTensors, ...last, ...(options.tensors ?? [])];
  return net(name, image, [...head, ...nodes, node("Conv", ["m", "v"], ["y"])], tensors);
}

/** The head, flattened to [2, 288], then `nodes` from `f` to `y`. */
function flattened(
  name: string,
  nodes: readonly NodeProto[],
  tensors: readonly TensorProto[],
): EmulatedNet {
  return net(
    name,
    image,
    [...head, node("Flatten", ["r"], ["f"]), ...nodes],
    [...headTensors, ...tensors],
  );
}

export const emulatedNets: readonly EmulatedNet[] = [
  convolution("conv of 3 channels, 3 × 3", [2, 3, 7, 9], [5, 3, 3, 3], { pads: ints(1, 1, 1, 1) }),
  convolution("conv of 4 channels and 16 outputs", [1, 4, 6, 6], [16, 4, 3, 3], {
    pads: ints(0, 1, 1, 0),
    strides: ints(2, 1),
  }),
  convolution("pointwise conv with strides", [1, 10, 7, 7], [7, 10, 1, 1], { strides: ints(2, 2) }),
  convolution("dilated conv", [1, 6, 9, 9], [4, 6, 3, 3], { dilations: ints(2, 2) }),
  convolution("grouped conv", [1, 6, 5, 5], [4, 3, 3, 3], { group: { int: 2 } }),
  convolution("depthwise conv", [2, 16, 6, 6], [16, 1, 3, 3], {
    group: { int: 16 },
    pads: ints(1, 1, 1, 1),
  }),
  convolution("depthwise conv, two outputs a channel", [1, 5, 6, 6], [10, 1, 3, 3], {
    group: { int: 5 },
  }),
  convolution("conv over one axis", [2, 6, 20], [9, 6, 5], { pads: ints(2, 2), strides: ints(2) }),
  convolution("conv with padding by name", [1, 3, 8, 7], [4, 3, 3, 3], {
    auto_pad: { string: "SAME_UPPER" },
    strides: ints(2, 2),
  }),
  between("sum of two", [node("Conv", ["r", "u"], ["d"]), node("Add", ["d", "r"], ["m"])], {
    tensors: [filled("u", [8, 8, 1, 1], 6)],
  }),
  between("sum with one number", [node("Add", ["r", "k"], ["m"])], {
    tensors: [floatTensor("k", [1], [0.37])],
  }),
  between("product with one number per channel", [node("Mul", ["r", "k"], ["m"])], {
    tensors: [filled("k", [8, 1, 1], 6)],
  }),
  between(
    "gate",
    [node("Sigmoid", ["c2"], ["s"]), node("Mul", ["c2", "s"], ["m"])].toSpliced(
      0,
      0,
      node("Conv", ["r", "u"], ["c2"]),
    ),
    {
      tensors: [filled("u", [8, 8, 1, 1], 6)],
    },
  ),
  between("leaky gate", [node("LeakyRelu", ["r"], ["m"], { alpha: { float: 0.1 } })]),
  between(
    "joined channels",
    [node("Conv", ["r", "u"], ["d"]), node("Concat", ["r", "d"], ["m"], { axis: { int: 1 } })],
    {
      tensors: [filled("u", [3, 8, 1, 1], 6)],
      channels: 11,
    },
  ),
  between("average over windows", [
    node("AveragePool", ["r"], ["m"], { kernel_shape: ints(3, 3), pads: ints(1, 1, 1, 1) }),
  ]),
  between("average over windows, padding counted", [
    node("AveragePool", ["r"], ["m"], {
      kernel_shape: ints(3, 2),
      strides: ints(2, 1),
      pads: ints(1, 0, 1, 1),
      count_include_pad: { int: 1 },
    }),
  ]),
  between("average over the image", [node("GlobalAveragePool", ["r"], ["m"])]),
  between("largest of windows", [
    node("MaxPool", ["r"], ["m"], { kernel_shape: ints(2, 2), strides: ints(2, 2) }),
  ]),
  between(
    "enlarged image",
    [node("Resize", ["r", "", "scales"], ["m"], { mode: { string: "linear" } })],
    { tensors: [floatTensor("scales", [4], [1, 1, 1.5, 2])] },
  ),
  between("softmax over the last axis", [node("Softmax", ["r"], ["m"], { axis: { int: -1 } })]),
  between(
    "turned and reshaped",
    [
      node("Transpose", ["r"], ["t"], { perm: ints(0, 1, 3, 2) }),
      node("Reshape", ["t", "target"], ["m"]),
    ],
    { tensors: [intTensor("target", [0, -1, 4, 9])] },
  ),
  flattened(
    "Gemm, floats out",
    [node("Gemm", ["f", "g", "h"], ["y"], { transB: { int: 1 } })],
    [filled("g", [11, 288], 7), filled("h", [11], 8)],
  ),
  flattened(
    "Gemm after Gemm",
    [
      node("Gemm", ["f", "g", "h"], ["n"]),
      node("Relu", ["n"], ["q"]),
      node("Gemm", ["q", "j"], ["y"]),
    ],
    [filled("g", [288, 10], 7), filled("h", [10], 8), filled("j", [10, 3], 9)],
  ),
  flattened("MatMul, floats out", [node("MatMul", ["f", "g"], ["y"])], [filled("g", [288, 5], 7)]),
  flattened(
    "MatMul after MatMul",
    [node("MatMul", ["f", "g"], ["n"]), node("MatMul", ["n", "j"], ["y"])],
    [filled("g", [288, 9], 7), filled("j", [9, 3], 9)],
  ),
];
