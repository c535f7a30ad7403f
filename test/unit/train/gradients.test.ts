/** Every gradient rule against finite differences, over the forms that exporters write. */
import { describe, expect, it } from "vitest";
import type { AttributeInputs, NodeInput } from "../../../controller/onnx/build.ts";
import { gradientRules } from "../../../controller/train/gradients/registry.ts";
import { permutation, seededRandom } from "../../../shared/prng.ts";
import { type GradientCase, gradientErrors } from "./gradient-check.ts";

/** float32 differences of a loss of about 5 at a distance of 0.01 carry an error of 1e-4. */
const tolerance = 1e-3;

function node(opType: string, inputs: string[], attributes: AttributeInputs = {}): NodeInput {
  return { opType, inputs, outputs: ["y"], attributes };
}

function conv(x: number[], w: number[], attributes: AttributeInputs): GradientCase {
  const values = { x, w, b: [w[0]!] };
  return { nodes: [node("Conv", ["x", "w", "b"], attributes)], values };
}

/** Values at least 0.05 apart and never near 0, so that no kink lies within the distance. */
function spread(shape: readonly number[]): number[] {
  const size = shape.reduce((product, length) => product * length, 1);
  const order = permutation(seededRandom(9), size);
  return Array.from(order, (place) => (place - Math.floor(size / 2)) * 0.05 + 0.025);
}

function kinked(opType: string, x: number[], attributes: AttributeInputs = {}): GradientCase {
  return { nodes: [node(opType, ["x"], attributes)], values: { x }, data: { x: spread(x) } };
}

function gemm(transA: number, transB: number): GradientCase {
  const attributes = {
    transA: { int: transA },
    transB: { int: transB },
    alpha: { float: 0.5 },
    beta: { float: 2 },
  };
  const values = { a: transA ? [4, 3] : [3, 4], b: transB ? [5, 4] : [4, 5], c: [5] };
  return { nodes: [node("Gemm", ["a", "b", "c"], attributes)], values };
}

function binary(opType: string): GradientCase {
  return {
    nodes: [node(opType, ["a", "b"])],
    values: { a: [2, 3, 4], b: [3, 1] },
    range: [0.5, 1.5],
  };
}

const two = { kernel_shape: { ints: [2, 2] }, strides: { ints: [2, 2] } };
const three = { kernel_shape: { ints: [3, 3] }, strides: { ints: [2, 2] } };
const border = { pads: { ints: [1, 1, 1, 1] } };

const cases: Readonly<Record<string, GradientCase>> = {
  "Conv same size": conv([2, 3, 6, 5], [4, 3, 3, 3], border),
  "Conv strides that drop rows": conv([2, 3, 7, 8], [4, 3, 3, 3], { strides: { ints: [2, 3] } }),
  "Conv groups, strides, dilations, uneven pads": conv([2, 4, 11, 9], [6, 2, 3, 2], {
    pads: { ints: [1, 0, 2, 1] },
    strides: { ints: [2, 1] },
    dilations: { ints: [1, 2] },
    group: { int: 2 },
  }),
  "Conv depthwise": conv([2, 4, 6, 6], [4, 1, 3, 3], {
    ...border,
    group: { int: 4 },
    strides: { ints: [2, 2] },
  }),
  "Conv SAME_UPPER": conv([2, 3, 6, 7], [4, 3, 3, 4], {
    auto_pad: { string: "SAME_UPPER" },
    strides: { ints: [2, 2] },
  }),
  "Conv SAME_LOWER": conv([2, 3, 6, 7], [4, 3, 3, 4], {
    auto_pad: { string: "SAME_LOWER" },
    strides: { ints: [2, 2] },
  }),
  "Conv in one dimension": conv([2, 3, 12], [4, 3, 5], {
    pads: { ints: [2, 2] },
    strides: { ints: [2] },
  }),
  "BatchNormalization in batch mode": {
    nodes: [node("BatchNormalization", ["x", "s", "b", "m", "v"], { epsilon: { float: 1e-3 } })],
    values: { x: [4, 3, 3, 3], s: [3], b: [3], m: [3], v: [3] },
  },
  "LayerNormalization over one axis": {
    nodes: [node("LayerNormalization", ["x", "s", "b"], { epsilon: { float: 1e-3 } })],
    values: { x: [3, 4, 6], s: [6], b: [6] },
  },
  "LayerNormalization over two axes without bias": {
    nodes: [node("LayerNormalization", ["x", "s"], { axis: { int: 1 } })],
    values: { x: [3, 4, 6], s: [4, 6] },
  },
  "MaxPool without overlap": kinked("MaxPool", [2, 3, 6, 6], two),
  "MaxPool with a rest": kinked("MaxPool", [2, 3, 7, 7], two),
  "MaxPool overlapping and padded": kinked("MaxPool", [2, 3, 7, 7], { ...three, ...border }),
  "MaxPool ceil_mode": kinked("MaxPool", [2, 3, 7, 7], { ...two, ceil_mode: { int: 1 } }),
  "AveragePool padded": kinked("AveragePool", [2, 3, 7, 7], { ...three, ...border }),
  "AveragePool counting pads": kinked("AveragePool", [2, 3, 7, 8], {
    kernel_shape: { ints: [3, 2] },
    strides: { ints: [2, 2] },
    ...border,
    count_include_pad: { int: 1 },
  }),
  GlobalAveragePool: kinked("GlobalAveragePool", [2, 3, 5, 4]),
  Gemm: gemm(0, 0),
  "Gemm transB": gemm(0, 1),
  "Gemm transA": gemm(1, 0),
  "Gemm transA transB": gemm(1, 1),
  "MatMul with a broadcast matrix": {
    nodes: [node("MatMul", ["a", "b"])],
    values: { a: [2, 3, 4], b: [4, 5] },
  },
  "MatMul with broadcast batches": {
    nodes: [node("MatMul", ["a", "b"])],
    values: { a: [1, 2, 3, 4], b: [3, 1, 4, 5] },
  },
  Add: binary("Add"),
  Sub: binary("Sub"),
  Mul: binary("Mul"),
  Div: { ...binary("Div"), epsilon: 3e-3 },
  Relu: kinked("Relu", [2, 30]),
  Clip: {
    ...kinked("Clip", [2, 30]),
    nodes: [node("Clip", ["x", "low", "high"])],
    constants: { low: -1, high: 0.8 },
  },
  Sigmoid: { nodes: [node("Sigmoid", ["x"])], values: { x: [2, 30] } },
  Tanh: { nodes: [node("Tanh", ["x"])], values: { x: [2, 30] } },
  Softmax: { nodes: [node("Softmax", ["x"], { axis: { int: 1 } })], values: { x: [2, 5, 3] } },
  LogSoftmax: {
    nodes: [node("LogSoftmax", ["x"], { axis: { int: 1 } })],
    values: { x: [2, 5, 3] },
  },
  "Transpose, Identity and Concat of two paths": {
    nodes: [
      {
        opType: "Transpose",
        inputs: ["x"],
        outputs: ["t"],
        attributes: { perm: { ints: [1, 2, 0] } },
      },
      { opType: "Identity", inputs: ["t"], outputs: ["i"] },
      { opType: "Tanh", inputs: ["t"], outputs: ["h"] },
      node("Concat", ["i", "h"], { axis: { int: -1 } }),
    ],
    values: { x: [2, 3, 4] },
  },
  "Reshape, Unsqueeze and Squeeze": {
    nodes: [
      { opType: "Reshape", inputs: ["x", "shape"], outputs: ["r"] },
      { opType: "Unsqueeze", inputs: ["r", "axes"], outputs: ["u"] },
      { opType: "Tanh", inputs: ["u"], outputs: ["h"] },
      node("Squeeze", ["h", "axes"]),
    ],
    values: { x: [2, 3, 4] },
    ints: { shape: [4, 6], axes: [0] },
  },
  "Flatten and a value used twice": {
    nodes: [{ opType: "Flatten", inputs: ["x"], outputs: ["f"] }, node("Mul", ["f", "f"])],
    values: { x: [2, 3, 4] },
  },
};

describe("gradient rules against finite differences", () => {
  for (const [name, gradientCase] of Object.entries(cases)) {
    it(name, async () => {
      const errors = await gradientErrors(gradientCase);
      const frozen = name.startsWith("BatchNormalization") ? ["m", "v"] : [];
      const wanted = Object.keys(gradientCase.values).filter((value) => !frozen.includes(value));
      expect(Object.keys(errors)).toEqual(wanted);
      for (const [value, error] of Object.entries(errors)) {
        expect(error, `gradient of ${value}`).toBeLessThan(tolerance);
      }
    });
  }

  it("covers every registered rule", () => {
    const covered = Object.values(cases).flatMap(({ nodes }) => nodes.map(({ opType }) => opType));
    expect([...gradientRules.keys()].filter((opType) => !covered.includes(opType))).toEqual([]);
  });
});
