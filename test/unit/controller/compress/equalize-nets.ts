/** Small nets with what equalization is about: gates, normalisations, recorded statistics. */
import { recordStatistics } from "../../../../controller/compress/equalize/channel-statistics.ts";
import { floatTensor } from "../../../../controller/onnx/tensor.ts";
import { buildModel, feedsOf, node, type SampleNet, weights } from "./sample-nets.ts";

/** Gates of three forms, depthwise convolutions, squeeze and excite, and a residual sum, in opset 14. */
const gatedBlocks: SampleNet = {
  name: "gated blocks",
  feeds: feedsOf([2, 3, 8, 8]),
  model: () =>
    buildModel({
      opset: 14,
      inputShape: ["n", 3, 8, 8],
      nodes: [
        node("Conv", ["x", "w1", "b1"], ["c1"], { pads: { ints: [1, 1, 1, 1] } }),
        node("Sigmoid", ["c1"], ["s1"]),
        node("Mul", ["c1", "s1"], ["silu"]),
        node("Conv", ["silu", "w2", "b2"], ["c2"], {
          pads: { ints: [1, 1, 1, 1] },
          group: { int: 12 },
        }),
        node("HardSwish", ["c2"], ["swish"]),
        node("GlobalAveragePool", ["swish"], ["pooled"]),
        node("Conv", ["pooled", "w3", "b3"], ["squeezed"]),
        node("Relu", ["squeezed"], ["r3"]),
        node("Conv", ["r3", "w4", "b4"], ["excited"]),
        node("HardSigmoid", ["excited"], ["gate"], { alpha: { float: 1 / 6 } }),
        node("Mul", ["swish", "gate"], ["attended"]),
        node("Conv", ["attended", "w5", "b5"], ["c5"]),
        node("Add", ["c5", "three"], ["raised"]),
        node("Clip", ["raised", "zero", "six"], ["clipped"]),
        node("Mul", ["c5", "clipped"], ["product"]),
        node("Div", ["product", "six"], ["old"]),
        node("Conv", ["old", "w6", "b6"], ["c6"]),
        node("Add", ["c6", "silu"], ["sum"]),
        node("GlobalAveragePool", ["sum"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("Gemm", ["f", "w7", "b7"], ["y"], { transB: { int: 1 } }),
      ],
      initializers: [
        weights("w1", [12, 3, 3, 3], 1, 0.3),
        weights("b1", [12], 2, 0.2),
        weights("w2", [12, 1, 3, 3], 3, 0.5),
        weights("b2", [12], 4, 0.2),
        weights("w3", [4, 12, 1, 1], 5, 0.5),
        weights("b3", [4], 6, 0.2),
        weights("w4", [12, 4, 1, 1], 7, 0.5),
        weights("b4", [12], 8, 0.2),
        weights("w5", [16, 12, 1, 1], 9, 0.5),
        weights("b5", [16], 10, 0.2),
        floatTensor("three", [], [3]),
        floatTensor("zero", [], [0]),
        floatTensor("six", [], [6]),
        weights("w6", [12, 16, 1, 1], 11, 0.5),
        weights("b6", [12], 12, 0.2),
        weights("w7", [5, 12], 13, 0.8),
        weights("b7", [5], 14, 0.2),
      ],
    }),
};

/** A scale with two outliers, as trained normalisations have them. */
const outliers = Float32Array.from({ length: 16 }, (_, at) => ({ 3: 40, 9: 15 })[at] ?? 1);

/** Half of a transformer layer: normalisation, two products with GELU between them, and the sum. */
const feedForward: SampleNet = {
  name: "feed-forward layer",
  feeds: feedsOf([2, 5, 16]),
  model: () =>
    buildModel({
      opset: 17,
      inputShape: ["n", 5, 16],
      nodes: [
        node("LayerNormalization", ["x", "gamma", "beta"], ["normal"], { axis: { int: -1 } }),
        node("MatMul", ["normal", "w1"], ["m1"]),
        node("Add", ["m1", "b1"], ["a1"]),
        node("Div", ["a1", "root"], ["divided"]),
        node("Erf", ["divided"], ["erf"]),
        node("Add", ["erf", "one"], ["risen"]),
        node("Mul", ["a1", "risen"], ["doubled"]),
        node("Mul", ["doubled", "half"], ["gelu"]),
        node("MatMul", ["gelu", "w2"], ["m2"]),
        node("Add", ["x", "m2"], ["y"]),
      ],
      initializers: [
        floatTensor("gamma", [16], outliers),
        weights("beta", [16], 2, 0.3),
        weights("w1", [16, 32], 3, 0.3),
        weights("b1", [32], 4, 0.2),
        floatTensor("root", [], [Math.SQRT2]),
        floatTensor("one", [], [1]),
        floatTensor("half", [], [0.5]),
        weights("w2", [32, 16], 5, 0.3),
      ],
    }),
};

/** Statistics of its channels were recorded before its weights changed a little. */
const recordedNet: SampleNet = {
  name: "recorded statistics",
  feeds: feedsOf([2, 3, 8, 8]),
  model() {
    const model = buildModel({
      opset: 13,
      inputShape: ["n", 3, 8, 8],
      nodes: [
        node("Conv", ["x", "w1", "b1"], ["c1"]),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "w2"], ["y"]),
      ],
      initializers: [
        weights("w1", [4, 3, 3, 3], 1, 0.3),
        weights("b1", [4], 2, 0.1),
        weights("w2", [4, 4, 1, 1], 3, 0.5),
      ],
    });
    const mean = Float32Array.of(0.1, -0.1, 0, 0.2);
    recordStatistics(model, new Map([["c1", { mean, deviation: mean.map(() => 1.5) }]]));
    return model;
  },
};

export const equalizeNets: readonly SampleNet[] = [gatedBlocks, feedForward, recordedNet];
