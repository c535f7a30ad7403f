/** Small nets that bring what real exports bring, each with inputs to run it on. */

import type { TensorValue } from "../../../../controller/compress/execute.ts";
import {
  type AttributeInputs,
  makeGraph,
  makeModel,
  makeNode,
  makeValueInfo,
} from "../../../../controller/onnx/build.ts";
import { Model } from "../../../../controller/onnx/model.ts";
import type { GraphProto, NodeProto, TensorProto } from "../../../../controller/onnx/schema.ts";
import { floatTensor, intTensor, makeTensor } from "../../../../controller/onnx/tensor.ts";
import { randomValues } from "../onnx/sample-models.ts";
import { floats } from "./run-model.ts";

export interface SampleNet {
  readonly name: string;
  readonly model: () => Model;
  /** Inputs, other ones for each seed. */
  readonly feeds: (seed: number) => ReadonlyMap<string, TensorValue>;
}

export function node(
  opType: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: AttributeInputs = {},
): NodeProto {
  return makeNode({ opType, inputs, outputs, attributes, name: `${outputs[0]}_node` });
}

/** A model of one float32 input `x` and float32 outputs of unknown shape. */
export function buildModel(options: {
  readonly opset: number;
  readonly inputShape: readonly (number | string)[];
  readonly nodes: readonly NodeProto[];
  readonly outputs?: readonly string[];
  readonly initializers?: readonly TensorProto[];
}): Model {
  return Model.fromProto(
    makeModel({
      opset: options.opset,
      graph: makeGraph({
        nodes: options.nodes,
        inputs: [makeValueInfo("x", "float32", options.inputShape)],
        outputs: (options.outputs ?? ["y"]).map((name) => makeValueInfo(name, "float32")),
        initializers: options.initializers ?? [],
      }),
    }),
  );
}

export function feedsOf(
  shape: readonly number[],
): (seed: number) => ReadonlyMap<string, TensorValue> {
  const count = shape.reduce((product, dim) => product * dim, 1);
  return (seed) => new Map([["x", floats(randomValues(seed, count), shape)]]);
}

export const weights = (
  name: string,
  shape: readonly number[],
  seed: number,
  spread: number,
): TensorProto =>
  floatTensor(
    name,
    shape,
    randomValues(
      seed,
      shape.reduce((product, dim) => product * dim, 1),
      spread,
    ),
  );

/** Weights of a spread that keeps values of a few layers near 1. */
export const filters = (name: string, shape: readonly number[], seed: number): TensorProto =>
  weights(name, shape, seed, 0.3);

const positive = (name: string, count: number, seed: number): TensorProto =>
  floatTensor(
    name,
    [count],
    randomValues(seed, count, 0.2).map((value) => Math.abs(value) + 0.5),
  );

const normalisation = (name: string, count: number, seed: number): TensorProto[] => [
  positive(`${name}_gamma`, count, seed),
  weights(`${name}_beta`, [count], seed + 1, 0.3),
  weights(`${name}_mean`, [count], seed + 2, 0.3),
  positive(`${name}_var`, count, seed + 3),
];

const batchNorm = (name: string, input: string, output: string): NodeProto =>
  node(
    "BatchNormalization",
    [input, `${name}_gamma`, `${name}_beta`, `${name}_mean`, `${name}_var`],
    [output],
    { epsilon: { float: 0.001 } },
  );

/** Residual net with batch normalisation, constants in nodes, Identity and Dropout, in opset 13. */
const residualNet: SampleNet = {
  name: "residual net",
  feeds: feedsOf([2, 3, 8, 8]),
  model: () =>
    buildModel({
      opset: 13,
      inputShape: ["n", 3, 8, 8],
      nodes: [
        node("Constant", [], ["w1"], {
          value: { tensor: weights("", [8, 3, 3, 3], 1, 0.3) },
        }),
        node("Constant", [], ["k"], { value_float: { float: 0.5 } }),
        node("Conv", ["x", "w1"], ["c1"], { pads: { ints: [1, 1, 1, 1] } }),
        batchNorm("n1", "c1", "n1"),
        node("Relu", ["n1"], ["r1"]),
        node("Identity", ["r1"], ["i1"]),
        node("Conv", ["i1", "w2", "b2"], ["c2"], {
          pads: { ints: [1, 1, 1, 1] },
          group: { int: 8 },
        }),
        batchNorm("n2", "c2", "n2"),
        node("Add", ["n2", "r1"], ["sum"]),
        node("Relu", ["sum"], ["r2"]),
        node("Mul", ["r2", "k"], ["halved"]),
        node("Dropout", ["halved", "ratio"], ["d"]),
        node("MaxPool", ["d"], ["p"], {
          kernel_shape: { ints: [2, 2] },
          strides: { ints: [2, 2] },
        }),
        node("ConvTranspose", ["p", "wt"], ["t"], {
          strides: { ints: [2, 2] },
          group: { int: 2 },
        }),
        node("Add", ["t", "bt"], ["tb"]),
        batchNorm("n3", "tb", "n3"),
        node("GlobalAveragePool", ["n3"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("Gemm", ["f", "wg", "bg"], ["y"], { transB: { int: 1 } }),
        node("Neg", ["r2"], ["unused"]),
      ],
      initializers: [
        ...normalisation("n1", 8, 10),
        weights("w2", [8, 1, 3, 3], 2, 0.5),
        weights("b2", [8], 3, 0.2),
        ...normalisation("n2", 8, 20),
        floatTensor("ratio", [], [0.5]),
        weights("wt", [8, 3, 2, 2], 4, 0.4),
        weights("bt", [1, 6, 1, 1], 5, 0.4),
        ...normalisation("n3", 6, 30),
        weights("wg", [5, 6], 6, 0.8),
        weights("bg", [5], 7, 0.5),
        weights("forgotten", [3], 8, 1),
      ],
    }),
};

/** Perceptron of MatMul and Add, Gemm both ways round, with a shared weight. */
const perceptron: SampleNet = {
  name: "perceptron",
  feeds: feedsOf([4, 16]),
  model: () =>
    buildModel({
      opset: 13,
      inputShape: ["n", 16],
      nodes: [
        node("MatMul", ["x", "w1"], ["m1"]),
        node("Add", ["m1", "b1"], ["a1"]),
        node("Relu", ["a1"], ["r1"]),
        node("Gemm", ["r1", "w2", "b2"], ["g2"], { transB: { int: 1 } }),
        node("Relu", ["g2"], ["r2"]),
        node("Gemm", ["r2", "w3"], ["g3"]),
        node("Sigmoid", ["g3"], ["s3"]),
        node("MatMul", ["s3", "w1"], ["m4"]),
        node("Softmax", ["m4"], ["y"], { axis: { int: -1 } }),
      ],
      initializers: [
        weights("w1", [16, 32], 1, 0.3),
        weights("b1", [32], 2, 0.2),
        weights("w2", [24, 32], 3, 0.3),
        weights("b2", [24], 4, 0.2),
        weights("w3", [24, 16], 5, 0.3),
      ],
    }),
};

/** What operator sets 9 and 10 wrote as attributes, and old meanings of Softmax and Resize. */
const oldExport: SampleNet = {
  name: "export in operator set 9",
  feeds: feedsOf([2, 4, 6, 6]),
  model: () =>
    buildModel({
      opset: 9,
      inputShape: [2, 4, 6, 6],
      outputs: ["y", "soft", "reduced", "top"],
      nodes: [
        node("Pad", ["x"], ["padded"], {
          pads: { ints: [0, 0, 1, 1, 0, 0, 1, 1] },
          value: { float: 0.25 },
        }),
        node("Slice", ["padded"], ["cut"], {
          starts: { ints: [1, 0] },
          ends: { ints: [7, -1] },
          axes: { ints: [2, 3] },
        }),
        node("Clip", ["cut"], ["clipped"], { min: { float: -1 }, max: { float: 1.5 } }),
        node("Upsample", ["clipped", "scales"], ["up"], { mode: { string: "nearest" } }),
        node("Split", ["up"], ["left", "right"], { axis: { int: 1 }, split: { ints: [1, 3] } }),
        node("Dropout", ["right"], ["kept"], { ratio: { float: 0.3 } }),
        node("Unsqueeze", ["left"], ["wide"], { axes: { ints: [0] } }),
        node("Squeeze", ["wide"], ["narrow"], { axes: { ints: [0] } }),
        node("Concat", ["narrow", "kept"], ["y"], { axis: { int: 1 } }),
        node("Softmax", ["x"], ["soft"], { axis: { int: 1 } }),
        node("ReduceSum", ["x"], ["reduced"], { axes: { ints: [2, 3] }, keepdims: { int: 0 } }),
        node("TopK", ["reduced"], ["top", "indices"], { k: { int: 2 } }),
      ],
      initializers: [floatTensor("scales", [4], [1, 1, 2, 2])],
    }),
};

/** LSTM in both directions, GRU, and a product at the end: [time, batch, features]. */
const recurrentNet: SampleNet = {
  name: "recurrent net",
  feeds: feedsOf([6, 2, 10]),
  model: () =>
    buildModel({
      opset: 14,
      inputShape: [6, 2, 10],
      nodes: [
        node("LSTM", ["x", "lw", "lr", "lb"], ["l"], {
          hidden_size: { int: 8 },
          direction: { string: "bidirectional" },
        }),
        node("Transpose", ["l"], ["lt"], { perm: { ints: [0, 2, 1, 3] } }),
        node("Reshape", ["lt", "flat"], ["lf"]),
        node("GRU", ["lf", "gw", "gr", "gb"], ["", "g"], {
          hidden_size: { int: 12 },
          linear_before_reset: { int: 1 },
        }),
        node("Squeeze", ["g", "zero"], ["s"]),
        node("Gemm", ["s", "w", "b"], ["y"], { transB: { int: 1 } }),
      ],
      initializers: [
        weights("lw", [2, 32, 10], 1, 0.4),
        weights("lr", [2, 32, 8], 2, 0.4),
        weights("lb", [2, 64], 3, 0.2),
        weights("gw", [1, 36, 16], 4, 0.4),
        weights("gr", [1, 36, 12], 5, 0.4),
        weights("gb", [1, 72], 6, 0.2),
        weights("w", [5, 12], 7, 0.5),
        weights("b", [5], 8, 0.5),
        intTensor("flat", [6, 2, 16]),
        intTensor("zero", [0]),
      ],
    }),
};

/** Shape arithmetic, Resize by it, and a branch. */
const shapeWork: SampleNet = {
  name: "shape arithmetic",
  feeds: feedsOf([1, 2, 5, 5]),
  model: () =>
    buildModel({
      opset: 13,
      inputShape: [1, 2, "h", "w"],
      nodes: [
        node("Conv", ["x", "w"], ["c"], { pads: { ints: [1, 1, 1, 1] } }),
        node("Shape", ["c"], ["shape"]),
        node("Cast", ["shape"], ["lengths"], { to: { int: 1 } }),
        node("Mul", ["lengths", "factors"], ["scaled"]),
        node("Cast", ["scaled"], ["sizes"], { to: { int: 7 } }),
        node("Resize", ["c", "", "", "sizes"], ["big"], { mode: { string: "linear" } }),
        node("Max", ["big", "low"], ["bounded"]),
        node("Reshape", ["bounded", "flat"], ["y"]),
      ],
      initializers: [
        weights("w", [3, 2, 3, 3], 1, 0.4),
        floatTensor("factors", [4], [1, 1, 2, 2]),
        floatTensor("low", [], [-0.2]),
        intTensor("flat", [1, -1]),
      ],
    }),
};

/** Weights that are computed from constants, among them one that would grow, and a branch that reads one. */
const computedConstants: SampleNet = {
  name: "computed constants",
  feeds: feedsOf([2, 6]),
  model: () =>
    buildModel({
      opset: 13,
      inputShape: [2, 6],
      nodes: [
        node("Reshape", ["w1", "to"], ["w2"]),
        node("Transpose", ["w2"], ["w3"]),
        node("MatMul", ["x", "w3"], ["m"]),
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "last"], ["six"]),
        node("Cast", ["six"], ["six_float"], { to: { int: 1 } }),
        node("Sqrt", ["six_float"], ["root"]),
        node("Div", ["m", "root"], ["scaled"]),
        node("Expand", ["one", "large"], ["wide"]),
        node("ReduceSum", ["wide"], ["total"], { keepdims: { int: 0 } }),
        node("Mul", ["scaled", "total"], ["t"]),
        node("Neg", ["b1"], ["b2"]),
        node("If", ["on"], ["branched"], {
          then_branch: { graph: branch("Add", "t", "b2") },
          else_branch: { graph: branch("Sub", "t", "b2") },
        }),
        node("Concat", ["branched", "wide"], ["y"], { axis: { int: 0 } }),
      ],
      initializers: [
        weights("w1", [24], 1, 0.4),
        intTensor("to", [4, 6]),
        intTensor("last", [1], []),
        floatTensor("one", [1], [0.001]),
        intTensor("large", [200, 4]),
        weights("b1", [4], 2, 0.3),
        makeTensor({ name: "on", type: "bool", shape: [], data: Uint8Array.of(1) }),
      ],
    }),
};

/** A branch that reads two values of the graph around it. */
function branch(opType: string, left: string, right: string): GraphProto {
  return makeGraph({
    name: opType,
    nodes: [makeNode({ opType, inputs: [left, right], outputs: ["inner"] })],
    inputs: [],
    outputs: [makeValueInfo("inner", "float32")],
  });
}

/** What exporters of transformers spell out: normalisation, Gelu, and products with their biases. */
const spelledOutTransformer: SampleNet = {
  name: "spelled out transformer",
  feeds: feedsOf([2, 3, 8]),
  model: () =>
    buildModel({
      opset: 13,
      inputShape: ["n", 3, 8],
      nodes: [
        ...layerNorm("x", "n1"),
        node("MatMul", ["n1", "w1"], ["m1"]),
        node("Add", ["b1", "m1"], ["a1"]),
        node("Div", ["a1", "root"], ["e1"]),
        node("Erf", ["e1"], ["e2"]),
        node("Add", ["e2", "one"], ["e3"]),
        node("Mul", ["a1", "e3"], ["e4"]),
        node("Mul", ["e4", "half"], ["g1"]),
        node("MatMul", ["g1", "w2"], ["m2"]),
        node("Add", ["m2", "b2"], ["a2"]),
        node("Add", ["a2", "x"], ["r2"]),
        ...layerNorm("r2", "n2"),
        node("Reshape", ["n2", "rows"], ["flat"]),
        node("MatMul", ["flat", "w3"], ["m3"]),
        node("Add", ["m3", "b3"], ["y"]),
      ],
      initializers: [
        ...transformerConstants,
        weights("w1", [8, 16], 1, 0.4),
        weights("b1", [16], 2, 0.2),
        weights("w2", [16, 8], 3, 0.4),
        weights("b2", [8], 4, 0.2),
        intTensor("rows", [-1, 24]),
        weights("w3", [24, 5], 5, 0.3),
        weights("b3", [1, 5], 6, 0.2),
      ],
    }),
};

const transformerConstants: readonly TensorProto[] = [
  floatTensor("one", [], [1]),
  floatTensor("half", [], [0.5]),
  floatTensor("two", [], [2]),
  floatTensor("root", [], [Math.SQRT2]),
  floatTensor("epsilon", [], [1e-5]),
  positive("gamma", 8, 7),
  weights("beta", [8], 8, 0.3),
];

/** Layer normalisation of `input` to `output`, in the nodes that PyTorch's exporter wrote. */
function layerNorm(input: string, output: string): NodeProto[] {
  const part = (name: string): string => `${output}_${name}`;
  const lastAxis = { axes: { ints: [-1] } };
  return [
    node("ReduceMean", [input], [part("mean")], lastAxis),
    node("Sub", [input, part("mean")], [part("d")]),
    node("Pow", [part("d"), "two"], [part("square")]),
    node("ReduceMean", [part("square")], [part("var")], lastAxis),
    node("Add", [part("var"), "epsilon"], [part("sum")]),
    node("Sqrt", [part("sum")], [part("std")]),
    node("Div", [part("d"), part("std")], [part("normal")]),
    node("Mul", [part("normal"), "gamma"], [part("scaled")]),
    node("Add", [part("scaled"), "beta"], [output]),
  ];
}

/** Convolutions behind hard gates in the forms exporters write, and a mean for a pooling. */
const gatedNet: SampleNet = {
  name: "gated net",
  feeds: feedsOf([2, 3, 6, 6]),
  model: () =>
    buildModel({
      opset: 13,
      inputShape: ["n", 3, 6, 6],
      nodes: [
        node("Conv", ["x", "w1", "b1"], ["c1"], { pads: { ints: [1, 1, 1, 1] } }),
        node("Add", ["c1", "three"], ["s1"]),
        node("Clip", ["s1", "zero", "six"], ["k1"]),
        node("Mul", ["c1", "k1"], ["p1"]),
        node("Div", ["p1", "six"], ["q1"]),
        node("Mul", ["factor", "q1"], ["f1"]),
        node("Add", ["f1", "offset"], ["h1"]),
        node("Conv", ["h1", "w2"], ["c2"], { group: { int: 8 }, pads: { ints: [1, 1, 0, 0] } }),
        node("HardSigmoid", ["c2"], ["k2"], { alpha: { float: 1 / 6 } }),
        node("Mul", ["c2", "k2"], ["q2"]),
        node("Mul", ["q2", "factor"], ["f2"]),
        node("Sub", ["f2", "offset"], ["h2"]),
        node("Conv", ["h2", "w3"], ["c3"]),
        node("Sigmoid", ["c3"], ["k3"]),
        node("Mul", ["c3", "k3"], ["h3"]),
        node("ReduceMean", ["h3"], ["m"], { axes: { ints: [2, 3] }, keepdims: { int: 0 } }),
        node("Gemm", ["m", "w4", "b4"], ["y"]),
      ],
      initializers: [
        floatTensor("factor", [1], [0.7]),
        floatTensor("offset", [1], [0.4]),
        floatTensor("zero", [], [0]),
        floatTensor("three", [], [3]),
        floatTensor("six", [], [6]),
        weights("w1", [8, 3, 3, 3], 1, 0.3),
        weights("b1", [8], 2, 0.4),
        weights("w2", [8, 1, 3, 3], 3, 0.5),
        weights("w3", [6, 8, 1, 1], 4, 0.4),
        weights("w4", [6, 4], 5, 0.6),
        weights("b4", [4], 6, 0.3),
      ],
    }),
};

/** One weight and one bias, read in every way that there is. */
const sharedWeights: SampleNet = {
  name: "shared weights",
  feeds: feedsOf([3, 6]),
  model: () =>
    buildModel({
      opset: 13,
      inputShape: ["n", 6],
      nodes: [
        node("Gemm", ["x", "w", "b"], ["g1"]),
        node("Relu", ["g1"], ["r1"]),
        node("Gemm", ["r1", "w", "b"], ["g2"], { transB: { int: 1 } }),
        node("MatMul", ["g2", "w"], ["m"]),
        node("Add", ["m", "b"], ["a"]),
        node("Mul", ["a", "b"], ["y"]),
      ],
      initializers: [weights("w", [6, 6], 1, 0.4), weights("b", [6], 2, 0.5)],
    }),
};

export const sampleNets: readonly SampleNet[] = [
  residualNet,
  perceptron,
  oldExport,
  shapeWork,
  recurrentNet,
  computedConstants,
  spelledOutTransformer,
  gatedNet,
  sharedWeights,
];
