/**
 * The values that operators take for attributes that a node does not have. Only those are listed that
 * every operator set of 7 and later agrees on, so that leaving them out changes no meaning.
 * Source: ONNX, docs/Operators.md and docs/Changelog.md; onnxruntime, docs/ContribOperators.md (QGemm and others).
 */
import type { Node } from "../node.ts";
import { type AttributeProto, attributeType } from "../schema.ts";

/** One value, or with `all` a list of any length that repeats one value. */
type Default = number | string | { readonly all: number };

const window: Readonly<Record<string, Default>> = {
  auto_pad: "NOTSET",
  dilations: { all: 1 },
  pads: { all: 0 },
  strides: { all: 1 },
};

const convolution = { ...window, group: 1 };

const recurrent = { direction: "forward", layout: 0 };

const reduction = { keepdims: 1, noop_with_empty_axes: 0 };

const reductions = [
  ...["ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"],
  ...["ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"],
];

/** By operator type; the operators of com.microsoft that are listed have names of their own. */
const attributeDefaults: Readonly<Record<string, Readonly<Record<string, Default>>>> = {
  ...Object.fromEntries(reductions.map((opType) => [opType, reduction])),
  ArgMax: { axis: 0, keepdims: 1, select_last_index: 0 },
  ArgMin: { axis: 0, keepdims: 1, select_last_index: 0 },
  AveragePool: { ...window, ceil_mode: 0, count_include_pad: 0 },
  BatchNormalization: { epsilon: 1e-5, momentum: 0.9, training_mode: 0 },
  Conv: convolution,
  ConvInteger: convolution,
  ConvTranspose: { ...convolution, output_padding: { all: 0 } },
  CumSum: { exclusive: 0, reverse: 0 },
  DepthToSpace: { mode: "DCR" },
  DequantizeLinear: { axis: 1, block_size: 0 },
  Elu: { alpha: 1 },
  Flatten: { axis: 1 },
  GRU: { ...recurrent, linear_before_reset: 0 },
  Gather: { axis: 0 },
  Gemm: { alpha: 1, beta: 1, transA: 0, transB: 0 },
  HardSigmoid: { alpha: 0.2, beta: 0.5 },
  LSTM: { ...recurrent, input_forget: 0 },
  LayerNormalization: { axis: -1, epsilon: 1e-5, stash_type: 1 },
  LeakyRelu: { alpha: 0.01 },
  MaxPool: { ...window, ceil_mode: 0, storage_order: 0 },
  Pad: { mode: "constant" },
  QGemm: { alpha: 1, transA: 0, transB: 0 },
  QLinearAveragePool: { ...window, ceil_mode: 0, channels_last: 0, count_include_pad: 0 },
  QLinearConv: convolution,
  QLinearGlobalAveragePool: { channels_last: 0 },
  QuantizeLinear: { axis: 1, block_size: 0, saturate: 1 },
  RNN: recurrent,
  Reshape: { allowzero: 0 },
  Resize: {
    coordinate_transformation_mode: "half_pixel",
    cubic_coeff_a: -0.75,
    exclude_outside: 0,
    extrapolation_value: 0,
    mode: "nearest",
    nearest_mode: "round_prefer_floor",
  },
  Split: { axis: 0 },
  TopK: { largest: 1, sorted: 1 },
};

/** True when the node means the same without the attribute. */
export function isDefaultAttribute(node: Node, attribute: AttributeProto): boolean {
  const fallback = attributeDefaults[node.opType]?.[attribute.name ?? ""];
  if (fallback === undefined || attribute.refAttrName !== undefined) return false;
  if (typeof fallback === "string") return node.string(attribute.name!, undefined) === fallback;
  if (typeof fallback === "object") {
    return attribute.ints.every((value) => value === BigInt(fallback.all));
  }
  if (attribute.type === attributeType.float) {
    return (attribute.f ?? 0) === Math.fround(fallback);
  }
  return attribute.type === attributeType.int && (attribute.i ?? 0n) === BigInt(fallback);
}
