/** Static and dynamic int8: the numbers of scales, what fuses, and the traps on the way. */
import { describe, expect, it } from "vitest";
import { auditFusion, type FusionAudit } from "../../../../controller/compress/fusion-audit.ts";
import { runPasses } from "../../../../controller/compress/pass-manager.ts";
import { findPass } from "../../../../controller/compress/passes/registry.ts";
import { makeGraph, makeNode, makeValueInfo } from "../../../../controller/onnx/build.ts";
import type { Model } from "../../../../controller/onnx/model.ts";
import type { NodeProto, TensorProto } from "../../../../controller/onnx/schema.ts";
import {
  floatTensor,
  makeTensor,
  tensorDataAs,
  tensorFloats,
} from "../../../../controller/onnx/tensor.ts";
import { randomValues } from "../onnx/sample-models.ts";
import { optimizedBytes, runOnce, signalToNoise, workbenchOf } from "./run-model.ts";
import { buildModel, feedsOf, node } from "./sample-nets.ts";

const imageShape = [1, 4, 8, 8];

function filters(name: string, shape: readonly number[], seed: number): TensorProto {
  const count = shape.reduce((product, dim) => product * dim, 1);
  return floatTensor(name, shape, randomValues(seed, count, 0.3));
}

function imageModel(nodes: readonly NodeProto[], more: readonly TensorProto[] = []): Model {
  return buildModel({
    opset: 13,
    inputShape: imageShape,
    nodes,
    initializers: [
      filters("w1", [8, 4, 3, 3], 1),
      filters("b1", [8], 2),
      filters("w2", [8, 8, 3, 3], 3),
      ...more,
    ],
  });
}

const pads = { pads: { ints: [1, 1, 1, 1] } };

async function quantizeModel(
  model: Model,
  options: Record<string, unknown> = {},
  shape: readonly number[] = imageShape,
) {
  // Seven bits, so that no processor saturates and the same figures come out on all of them.
  const passOptions = { reduceRange: true, ...options };
  const feeds = feedsOf(shape);
  return runPasses({
    model,
    passes: [findPass("quantize-static")!.bind(passOptions)],
    workbench: workbenchOf(() => [1, 2, 3, 4].map(feeds)),
  });
}

async function auditOf(model: Model): Promise<FusionAudit> {
  return auditFusion(await optimizedBytes(model.encode()));
}

async function noiseOf(before: Model, after: Model, shape = imageShape): Promise<number> {
  const feeds = feedsOf(shape)(2);
  const [old, now] = [await runOnce(before.encode(), feeds), await runOnce(after.encode(), feeds)];
  const data = (map: typeof old): Float32Array => [...map.values()][0]!.data as Float32Array;
  return signalToNoise(data(old), data(now));
}

describe("what onnxruntime fuses", () => {
  it("a residual net: every convolution, the sum, the average and the product", async () => {
    const model = imageModel(
      [
        node("Conv", ["x", "w1", "b1"], ["c1"], pads),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "w2"], ["c2"], pads),
        node("Add", ["c2", "r1"], ["sum"]),
        node("Relu", ["sum"], ["r2"]),
        node("MaxPool", ["r2"], ["p"], { kernel_shape: { ints: [2, 2] } }),
        node("Conv", ["p", "w3"], ["c3"]),
        node("Clip", ["c3", "low", "high"], ["r3"]),
        node("GlobalAveragePool", ["r3"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("Gemm", ["f", "w4", "b4"], ["y"], { transB: { int: 1 } }),
      ],
      [
        filters("w3", [8, 8, 1, 1], 4),
        floatTensor("low", [], [0]),
        floatTensor("high", [], [6]),
        filters("w4", [5, 8], 5),
        filters("b4", [5], 6),
      ],
    );
    const { model: quantized, journal } = await quantizeModel(model);
    expect(journal[0]!.report).toMatchObject({ linear: 4, computed: 2, moved: 2, absorbed: 3 });
    const audit = await auditOf(quantized);
    expect(audit.floatNodes).toBe(0);
    expect(audit.operators).toMatchObject({
      QLinearConv: 3,
      QLinearAdd: 1,
      QLinearGlobalAveragePool: 1,
      QGemm: 1,
    });
    expect(audit.operators).not.toHaveProperty("Relu");
    expect(audit.operators).not.toHaveProperty("Clip");
    // One conversion at the door; the product yields floats by itself.
    expect(audit.conversionNodes).toBe(1);
    expect(await noiseOf(model, quantized)).toBeGreaterThan(25);
  });

  it.each([true, false])("per channel %s", async (perChannel) => {
    const model = imageModel([
      node("Conv", ["x", "w1", "b1"], ["c1"], pads),
      node("Conv", ["c1", "w2"], ["y"], pads),
    ]);
    const { model: quantized } = await quantizeModel(model, { perChannel });
    expect((await auditOf(quantized)).operators["QLinearConv"]).toBe(2);
    expect(await noiseOf(model, quantized)).toBeGreaterThan(25);
  });

  it.each([
    ["int8 activations", { activations: "int8" }],
    ["symmetric int8 activations", { activations: "int8", symmetricActivations: true }],
    ["symmetric uint8 activations", { symmetricActivations: true }],
    ["uint8 weights per channel", { weights: "uint8" }],
    ["uint8 weights per tensor", { weights: "uint8", perChannel: false }],
  ])("%s", async (_scheme, options) => {
    const model = imageModel([
      node("Conv", ["x", "w1", "b1"], ["c1"], pads),
      node("Relu", ["c1"], ["r1"]),
      node("Conv", ["r1", "w2"], ["y"], pads),
    ]);
    const { model: quantized } = await quantizeModel(model, options);
    const { operators, floatNodes } = await auditOf(quantized);
    expect(operators).toMatchObject({ QLinearConv: 2 });
    expect(floatNodes).toBe(0);
    expect(await noiseOf(model, quantized)).toBeGreaterThan(25);
  });

  it("a depthwise convolution, Concat, Mul, Sigmoid and Transpose", async () => {
    const model = imageModel(
      [
        node("Conv", ["x", "w1", "b1"], ["c1"], pads),
        node("Conv", ["c1", "wd"], ["d"], { ...pads, group: { int: 8 } }),
        node("Sigmoid", ["d"], ["s"]),
        node("Mul", ["d", "s"], ["m"]),
        node("Concat", ["c1", "m"], ["cat"], { axis: { int: 1 } }),
        node("Transpose", ["cat"], ["t"], { perm: { ints: [0, 1, 3, 2] } }),
        node("Conv", ["t", "w3"], ["y"]),
      ],
      [filters("wd", [8, 1, 3, 3], 4), filters("w3", [4, 16, 1, 1], 5)],
    );
    const { model: quantized } = await quantizeModel(model);
    const { floatNodes, operators } = await auditOf(quantized);
    expect(floatNodes).toBe(0);
    expect(operators).toMatchObject({
      QLinearConv: 3,
      QLinearSigmoid: 1,
      QLinearMul: 1,
      QLinearConcat: 1,
    });
    expect(await noiseOf(model, quantized)).toBeGreaterThan(25);
  });

  it("an activation that cuts on both sides, whose bounds the codes are", async () => {
    const model = imageModel(
      [
        node("Conv", ["x", "w1", "b1"], ["c1"], pads),
        node("Clip", ["c1", "low", "high"], ["r1"]),
        node("Conv", ["r1", "w2"], ["y"], pads),
      ],
      [floatTensor("low", [], [-0.5]), floatTensor("high", [], [0.5])],
    );
    const { model: quantized, journal } = await quantizeModel(model);
    expect(journal[0]!.report["absorbed"]).toBe(1);
    const { operators } = await auditOf(quantized);
    expect(operators).toMatchObject({ QLinearConv: 2, QuantizeLinear: 1, DequantizeLinear: 1 });
    expect(operators).not.toHaveProperty("Clip");
    expect(await noiseOf(model, quantized)).toBeGreaterThan(25);
  });

  it("MatMul, also in front of an Add that would make it a float Gemm", async () => {
    const model = buildModel({
      opset: 13,
      inputShape: [4, 16],
      nodes: [
        node("MatMul", ["x", "w"], ["m"]),
        node("Add", ["m", "b"], ["a"]),
        node("Tanh", ["a"], ["t"]),
        node("MatMul", ["t", "v"], ["y"]),
      ],
      initializers: [filters("w", [16, 8], 1), filters("b", [8], 2), filters("v", [8, 4], 3)],
    });
    const { model: quantized } = await quantizeModel(model, {}, [4, 16]);
    const audit = await auditOf(quantized);
    expect(audit.floatNodes).toBe(0);
    expect(audit.integerNodes).toBe(2);
    expect(await noiseOf(model, quantized, [4, 16])).toBeGreaterThan(25);
  });
});

describe("what stays float", () => {
  it("nodes that the recipe excludes, and what only floats would read", async () => {
    const model = imageModel([
      node("Conv", ["x", "w1", "b1"], ["c1"], pads),
      node("Conv", ["c1", "w2"], ["c2"], pads),
      node("Add", ["c2", "c1"], ["sum"]),
      node("HardSwish", ["sum"], ["y"]),
    ]);
    model.setOpset("", 14);
    const { model: quantized, journal } = await quantizeModel(model, { exclude: ["c1_node"] });
    expect(journal[0]!.report).toMatchObject({
      linear: 1,
      computed: 0,
      refused: ["c1_node: excluded by the recipe"],
    });
    expect((await auditOf(quantized)).operators["QLinearConv"]).toBe(1);
  });

  it("inputs and outputs of the graph", async () => {
    const { model: quantized } = await quantizeModel(
      imageModel([node("Conv", ["x", "w1", "b1"], ["y"], pads)]),
    );
    expect(quantized.graph.inputNames).toEqual(["x"]);
    expect(quantized.graph.outputNames).toEqual(["y"]);
    expect(quantized.graph.producerOf("y")!.opType).toBe("DequantizeLinear");
  });
});

describe("traps", () => {
  it("every reader of a quantized value reads its codes, float nodes too", async () => {
    const model = imageModel([
      node("Conv", ["x", "w1", "b1"], ["c1"], pads),
      node("Conv", ["c1", "w2"], ["c2"], pads),
      node("HardSigmoid", ["c1"], ["h"]),
      node("Mul", ["c2", "h"], ["y"]),
    ]);
    const { model: quantized } = await quantizeModel(model);
    for (const each of quantized.graph.nodes) {
      if (each.opType !== "QuantizeLinear") continue;
      expect(quantized.graph.consumersOf(each.input(0))).toEqual([each]);
    }
    expect((await auditOf(quantized)).operators["QLinearConv"]).toBe(2);
  });

  it("a bias beyond int32 makes its weight scale larger", async () => {
    const tiny = randomValues(1, 4 * 4, 1e-9);
    const model = buildModel({
      opset: 13,
      inputShape: imageShape,
      nodes: [node("Conv", ["x", "w", "b"], ["y"])],
      initializers: [
        floatTensor("w", [4, 4, 1, 1], tiny),
        floatTensor("b", [4], [1000, -1000, 0.5, 0]),
      ],
    });
    const { model: quantized, journal } = await quantizeModel(model);
    expect(journal[0]!.report["raisedScales"]).toBe(3);
    const feeds = feedsOf(imageShape)(2);
    const output = (await runOnce(quantized.encode(), feeds)).get("y")!.data as Float32Array;
    // The bias is nearly all of the output; without the larger scale it would be cut to a fraction.
    expect(output[0]! / 1000).toBeCloseTo(1, 1);
    expect(output[64]! / 1000).toBeCloseTo(-1, 1);
  });

  it("a channel of zeros keeps its bias", async () => {
    const weights = randomValues(1, 2 * 4);
    weights.fill(0, 0, 4);
    const model = buildModel({
      opset: 13,
      inputShape: imageShape,
      nodes: [node("Conv", ["x", "w", "b"], ["y"])],
      initializers: [
        floatTensor("w", [2, 4, 1, 1], weights),
        floatTensor("b", [2], [0.0123456, -0.1]),
      ],
    });
    const { graph } = (await quantizeModel(model)).model;
    const bias = graph.producerOf(graph.nodes.find((each) => each.is("Conv"))!.input(2))!;
    const codes = tensorDataAs(graph.constant(bias.input(0))!, "int32");
    const scales = tensorFloats(graph.constant(bias.input(1))!);
    expect(codes[0]! * scales[0]!).toBeCloseTo(0.0123456, 7);
  });

  it("reduced range keeps every weight within 7 bits", async () => {
    const model = imageModel([node("Conv", ["x", "w1", "b1"], ["y"], pads)]);
    const { model: quantized } = await quantizeModel(model);
    const codes = [...quantized.graph.initializers.values()]
      .filter(({ dataType, dims }) => dataType === 3 && dims.length === 4)
      .flatMap((tensor) => [...tensorDataAs(tensor, "int8")]);
    expect(Math.max(...codes.map(Math.abs))).toBe(64);
  });

  it("equal scales and zero points are stored once", async () => {
    const { model: quantized } = await quantizeModel(
      imageModel([
        node("Conv", ["x", "w1", "b1"], ["c1"], pads),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "w2"], ["c2"], pads),
        node("Relu", ["c2"], ["y"]),
      ]),
    );
    const contents = [...quantized.graph.initializers.values()].map(
      ({ dataType, dims, rawData }) =>
        `${dataType} [${dims}] ${Buffer.from(rawData!).toString("hex")}`,
    );
    expect(new Set(contents).size).toBe(contents.length);
  });
});

describe("dynamic int8", () => {
  it.each([true, false])("fuses to one node per product, per channel %s", async (perChannel) => {
    const model = buildModel({
      opset: 13,
      inputShape: ["n", 16],
      nodes: [
        node("MatMul", ["x", "w1"], ["m"]),
        node("Gemm", ["m", "w2", "b2"], ["g"], { transB: { int: 1 } }),
        node("Gemm", ["x", "w3"], ["h"]),
        node("Add", ["g", "h"], ["y"]),
      ],
      initializers: [
        filters("w1", [16, 8], 1),
        filters("w2", [8, 8], 2),
        filters("b2", [8], 3),
        filters("w3", [16, 8], 4),
      ],
    });
    const pass = findPass("quantize-dynamic")!.bind({ perChannel, reduceRange: true });
    const { model: quantized, journal } = await runPasses({ model, passes: [pass] });
    expect(journal[0]!.report).toMatchObject({ quantized: 3, inputs: 2 });
    const audit = await auditOf(quantized);
    expect(audit.floatNodes).toBe(0);
    expect(audit.integerNodes).toBe(3);
    expect(await noiseOf(model, quantized, [4, 16])).toBeGreaterThan(30);
    expect(quantized.graph.initializers.has("w1")).toBe(false);
  });

  it("leaves convolutions alone", async () => {
    const model = imageModel([node("Conv", ["x", "w1", "b1"], ["y"], pads)]);
    const pass = findPass("quantize-dynamic")!.bind({});
    const { notApplicable } = await runPasses({ model, passes: [pass] });
    expect(notApplicable?.reason).toContain("no MatMul or Gemm");
  });

  it("says when matrix products hold too small a share of the weights", async () => {
    const model = imageModel([
      node("Conv", ["x", "w1", "b1"], ["c"], pads),
      node("MatMul", ["c", "v"], ["y"]),
    ]);
    model.graph.setInitializer(filters("v", [8, 2], 5));
    const pass = findPass("quantize-dynamic")!.bind({ weightShareMin: 0.2 });
    const { notApplicable } = await runPasses({ model, passes: [pass] });
    expect(notApplicable?.reason).toBe(
      "MatMul and Gemm hold 2 % of the weights, 20 % are asked for",
    );
  });
});

describe("half precision", () => {
  it("clamps what is too large, lifts what is too small, and casts at the door", async () => {
    const model = buildModel({
      opset: 13,
      inputShape: [4],
      nodes: [node("Add", ["x", "w"], ["y"])],
      initializers: [floatTensor("w", [4], [1e6, -1e6, 1e-12, 0])],
    });
    const pass = findPass("float16")!.bind({});
    const { model: half, journal } = await runPasses({ model, passes: [pass] });
    expect(journal[0]!.report).toMatchObject({ clampedWeights: 2, liftedWeights: 1 });
    const [weights] = [...half.graph.initializers.values()];
    expect([...tensorFloats(weights!)]).toEqual([65504, -65504, 2 ** -24, 0]);
    expect(half.graph.sortedNodes().map(({ opType }) => opType)).toEqual(["Cast", "Add", "Cast"]);
    expect(half.graph.declaredType("x")).toBe("float32");
    expect(half.graph.declaredType("y")).toBe("float32");
  });

  it("keeps lengths that halves cannot hold, and the scales of Resize", async () => {
    const model = buildModel({
      opset: 13,
      inputShape: [1, 1, "h", "w"],
      outputs: ["tall", "wide"],
      nodes: [
        node("Mul", ["x", "k"], ["m"]),
        node("Shape", ["m"], ["shape"]),
        node("Cast", ["shape"], ["lengths"], { to: { int: 1 } }),
        node("Mul", ["lengths", "factors"], ["scaled"]),
        node("Cast", ["scaled"], ["sizes"], { to: { int: 7 } }),
        node("Resize", ["m", "", "", "sizes"], ["tall"], { mode: { string: "nearest" } }),
        node("Resize", ["m", "", "scales"], ["wide"], { mode: { string: "nearest" } }),
      ],
      initializers: [
        floatTensor("k", [], [0.5]),
        floatTensor("factors", [4], [1, 1, 1025.5, 1]),
        floatTensor("scales", [4], [1, 1, 1, 3]),
      ],
    });
    const pass = findPass("float16")!.bind({});
    const { model: half } = await runPasses({ model, passes: [pass] });
    const outputs = await runOnce(half.encode(), feedsOf([1, 1, 2, 2])(1));
    expect(outputs.get("tall")!.shape).toEqual([1, 1, 2051, 2]);
    expect(outputs.get("wide")!.shape).toEqual([1, 1, 2, 6]);
  });

  it("hands a branch the float32 it was written for", async () => {
    const branch = (name: string, opType: string) =>
      makeGraph({
        name,
        nodes: [makeNode({ opType, inputs: ["m"], outputs: [`${name}_y`] })],
        inputs: [],
        outputs: [makeValueInfo(`${name}_y`, "float32")],
      });
    const model = buildModel({
      opset: 13,
      inputShape: [4],
      nodes: [
        node("Mul", ["x", "k"], ["m"]),
        node("If", ["cond"], ["picked"], {
          then_branch: { graph: branch("then", "Neg") },
          else_branch: { graph: branch("else", "Abs") },
        }),
        node("Add", ["picked", "m"], ["y"]),
      ],
      initializers: [
        floatTensor("k", [4], [1, 2, 3, 4]),
        makeTensor({ name: "cond", type: "bool", shape: [], data: Uint8Array.of(1) }),
      ],
    });
    const pass = findPass("float16")!.bind({});
    const { model: half } = await runPasses({ model, passes: [pass] });
    expect(half.graph.producerOf("picked")!.captured).toEqual(["m_float32"]);
    const outputs = await runOnce(half.encode(), feedsOf([4])(1));
    expect([...(outputs.get("y")!.data as Float32Array)]).toEqual([0, 0, 0, 0]);
  });
});
