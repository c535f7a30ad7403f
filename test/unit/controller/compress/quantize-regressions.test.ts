/** Operators between int8 layers, and the cases that broke quantizers before. */
import { describe, expect, it } from "vitest";
import { auditFusion } from "../../../../controller/compress/fusion-audit.ts";
import { runPasses } from "../../../../controller/compress/pass-manager.ts";
import { quantizeStatic } from "../../../../controller/compress/passes/quantize-static.ts";
import { makeGraph, makeNode, makeValueInfo } from "../../../../controller/onnx/build.ts";
import type { Model } from "../../../../controller/onnx/model.ts";
import type { NodeProto, TensorProto } from "../../../../controller/onnx/schema.ts";
import { floatTensor, makeTensor, tensorFloats } from "../../../../controller/onnx/tensor.ts";
import { randomValues } from "../onnx/sample-models.ts";
import { optimizedBytes, runOnce, signalToNoise, workbenchOf } from "./run-model.ts";
import { buildModel, feedsOf, filters, node } from "./sample-nets.ts";

const imageShape = [1, 4, 8, 8];
const pads = { pads: { ints: [1, 1, 1, 1] } };

function imageModel(
  nodes: readonly NodeProto[],
  initializers: readonly TensorProto[],
  outputs: readonly string[] = ["y"],
): Model {
  return buildModel({ opset: 13, inputShape: imageShape, nodes, initializers, outputs });
}

async function quantizeModel(model: Model, options: Record<string, unknown> = {}) {
  const { model: quantized, journal } = await runPasses({
    model,
    // Seven bits, so that no processor saturates and the same figures come out on all of them.
    passes: [quantizeStatic.bind({ reduceRange: true, ...options })],
    workbench: workbenchOf(() => [1, 2, 3, 4].map(feedsOf(imageShape))),
  });
  const { operators } = auditFusion(await optimizedBytes(quantized.encode()));
  return { quantized, report: journal[0]!.report, operators };
}

/** Per output, in decibels. */
async function noiseOf(model: Model, quantized: Model): Promise<number[]> {
  const feeds = feedsOf(imageShape)(2);
  const expected = await runOnce(model.encode(), feeds);
  const actual = await runOnce(quantized.encode(), feeds);
  return [...expected].map(([name, { data }]) =>
    signalToNoise(data as Float32Array, actual.get(name)!.data as Float32Array),
  );
}

describe("between int8 layers", () => {
  const attributes = { axis: { int: 1 } };
  it.each([
    ["Where", [node("Where", ["mask", "c1", "c2"], ["last"])], 8, ["QLinearWhere"]],
    ["DepthToSpace", [node("DepthToSpace", ["c1"], ["last"], { blocksize: { int: 2 } })], 2, []],
    [
      "Resize",
      [node("Resize", ["c1", "", "scales"], ["last"], { mode: { string: "nearest" } })],
      8,
      [],
    ],
    ["LeakyRelu", [node("LeakyRelu", ["c1"], ["last"])], 8, ["QLinearLeakyRelu"]],
    [
      "a gate of Sigmoid and Mul",
      [node("Sigmoid", ["c1"], ["gate"]), node("Mul", ["c1", "gate"], ["last"])],
      8,
      ["QLinearSigmoid", "QLinearMul"],
    ],
    ["Softmax", [node("Softmax", ["c1"], ["last"], { axis: { int: -1 } })], 8, ["QLinearSoftmax"]],
    [
      "AveragePool",
      [node("AveragePool", ["c1"], ["last"], { kernel_shape: { ints: [2, 2] } })],
      8,
      ["QLinearAveragePool"],
    ],
    [
      "Split and Concat",
      [
        node("Split", ["c1"], ["left", "right"], attributes),
        node("Concat", ["right", "left"], ["last"], attributes),
      ],
      8,
      ["QLinearConcat"],
    ],
    ["a product of activations", [node("MatMul", ["c1", "c2"], ["last"])], 8, ["QLinearMatMul"]],
  ] as const)("%s works on codes", async (_name, middle, channels, kernels) => {
    const model = imageModel(
      [
        node("Conv", ["x", "w1"], ["c1"], pads),
        node("Conv", ["x", "w2"], ["c2"], pads),
        ...middle,
        node("Conv", ["last", "v1"], ["y1"]),
        node("Conv", ["c2", "v2"], ["y2"]),
      ],
      [
        filters("w1", [8, 4, 3, 3], 1),
        filters("w2", [8, 4, 3, 3], 2),
        filters("v1", [4, channels, 1, 1], 3),
        filters("v2", [4, 8, 1, 1], 4),
        floatTensor("scales", [4], [1, 1, 2, 2]),
        makeTensor({
          name: "mask",
          type: "bool",
          shape: [8, 8],
          data: Uint8Array.from({ length: 64 }, (_, at) => at % 2),
        }),
      ],
      ["y1", "y2"],
    );
    const { quantized, operators, report } = await quantizeModel(model, {
      activationProducts: true,
    });
    expect(report["computed"]).toBe(kernels.length);
    // One door for the input, one for each output.
    expect(operators["QuantizeLinear"]).toBe(1);
    expect(operators["DequantizeLinear"]).toBe(2);
    for (const kernel of ["QLinearConv", ...kernels]) expect(operators).toHaveProperty(kernel);
    for (const noise of await noiseOf(model, quantized)) expect(noise).toBeGreaterThan(20);
  });

  it("what products of activations yield stays float unless it is asked for", async () => {
    const model = imageModel(
      [
        node("Conv", ["x", "w1"], ["c1"], pads),
        node("MatMul", ["c1", "c1"], ["m"]),
        node("Conv", ["m", "v1"], ["y"]),
      ],
      [filters("w1", [8, 4, 3, 3], 1), filters("v1", [4, 8, 1, 1], 3)],
    );
    const { operators } = await quantizeModel(model);
    // What it reads are codes anyway, so multiplying these loses nothing; its output is not rounded.
    expect(operators).toHaveProperty("MatMulIntegerToFloat");
    expect(operators).not.toHaveProperty("QLinearMatMul");
  });
});

describe("single layers", () => {
  it("have other options than the rest, and names that do not exist are told", async () => {
    const model = imageModel(
      [node("Conv", ["x", "w1"], ["c1"], pads), node("Conv", ["c1", "w2"], ["y"], pads)],
      [filters("w1", [8, 4, 3, 3], 1), filters("w2", [4, 8, 3, 3], 2)],
    );
    const { quantized, report } = await quantizeModel(model, {
      layers: { c1_node: { perChannel: false }, no_such_layer: { reduceRange: true } },
    });
    const scales = quantized.graph.nodes
      .filter(({ opType }) => opType === "Conv")
      .map((conv) => {
        const dequantize = quantized.graph.producerOf(conv.input(1))!;
        return tensorFloats(quantized.graph.constant(dequantize.input(1))!).length;
      });
    expect(scales).toEqual([1, 4]);
    expect(report["unknown"]).toEqual(["no_such_layer"]);
  });
});

describe("cases that broke quantizers", () => {
  it("62 channels, which fill no vector", async () => {
    const model = imageModel(
      [
        node("Conv", ["x", "w1", "b1"], ["c1"], pads),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "wd"], ["d"], { ...pads, group: { int: 62 } }),
        node("Conv", ["d", "w2"], ["y"], pads),
      ],
      [
        filters("w1", [62, 4, 3, 3], 1),
        filters("b1", [62], 2),
        filters("wd", [62, 1, 3, 3], 3),
        filters("w2", [62, 62, 3, 3], 4),
      ],
    );
    const { quantized, operators } = await quantizeModel(model);
    expect(operators["QLinearConv"]).toBe(3);
    expect((await noiseOf(model, quantized))[0]).toBeGreaterThan(25);
  });

  it("a bias beyond int32 in one channel of a depthwise convolution", async () => {
    const weights = randomValues(1, 4 * 9, 0.3);
    weights.fill(1e-10, 9, 18);
    const model = imageModel(
      [node("Conv", ["x", "w", "b"], ["y"], { ...pads, group: { int: 4 } })],
      [floatTensor("w", [4, 1, 3, 3], weights), floatTensor("b", [4], [0.1, 900, -0.2, 0])],
    );
    const { quantized, report } = await quantizeModel(model);
    expect(report["raisedScales"]).toBe(1);
    const output = (await runOnce(quantized.encode(), feedsOf(imageShape)(2))).get("y")!;
    const channel = (output.data as Float32Array).subarray(64, 128);
    for (const value of channel) expect(value / 900).toBeCloseTo(1, 2);
  });

  it("ReLU6 of a value that another node reads too keeps what it does not cut", async () => {
    const model = imageModel(
      [
        node("Conv", ["x", "w1", "b1"], ["c1"], pads),
        node("Clip", ["c1", "low", "high"], ["r1"]),
        node("Conv", ["r1", "w2"], ["y1"], pads),
        node("Conv", ["c1", "w3"], ["y2"], pads),
      ],
      [
        filters("w1", [8, 4, 3, 3], 1),
        floatTensor("b1", [8], [9, -9, 5, -5, 3, -3, 1, -1]),
        floatTensor("low", [], [0]),
        floatTensor("high", [], [6]),
        filters("w2", [4, 8, 3, 3], 2),
        filters("w3", [4, 8, 3, 3], 3),
      ],
      ["y1", "y2"],
    );
    const { quantized, report, operators } = await quantizeModel(model);
    expect(report["absorbed"]).toBe(0);
    expect(operators["QLinearConv"]).toBe(3);
    for (const noise of await noiseOf(model, quantized)) expect(noise).toBeGreaterThan(25);
  });

  it("If: what stands in its branches is left alone, and reads what it read", async () => {
    const branch = (name: string, opType: string) =>
      makeGraph({
        name,
        nodes: [makeNode({ opType, inputs: ["c1", "w2"], outputs: [`${name}_y`] })],
        inputs: [],
        outputs: [makeValueInfo(`${name}_y`, "float32")],
      });
    const model = imageModel(
      [
        node("Conv", ["x", "w1"], ["c1"], pads),
        node("If", ["condition"], ["picked"], {
          then_branch: { graph: branch("then", "Conv") },
          else_branch: { graph: branch("else", "Conv") },
        }),
        node("Conv", ["c1", "w3"], ["c3"]),
        node("Sub", ["picked", "c3"], ["y"]),
      ],
      [
        filters("w1", [8, 4, 3, 3], 1),
        filters("w2", [4, 8, 1, 1], 2),
        filters("w3", [4, 8, 1, 1], 3),
        makeTensor({ name: "condition", type: "bool", shape: [], data: Uint8Array.of(1) }),
      ],
    );
    const { quantized, report } = await quantizeModel(model);
    expect(report["int8"]).toEqual(["c1_node", "c3_node"]);
    const [branches] = quantized.graph.nodes.filter(({ opType }) => opType === "If");
    expect(branches!.captured).toContain("w2");
    expect(tensorFloats(quantized.graph.constant("w2")!)).toHaveLength(32);
    expect((await noiseOf(model, quantized))[0]).toBeGreaterThan(20);
  });

  it("a weight that two layers read, one of them float", async () => {
    const model = imageModel(
      [
        node("Conv", ["x", "w"], ["c1"], pads),
        node("Conv", ["c1", "w"], ["c2"], pads),
        node("Conv", ["c2", "w"], ["y"], pads),
      ],
      [filters("w", [4, 4, 3, 3], 1)],
    );
    const { quantized, operators } = await quantizeModel(model, { exclude: ["c2_node"] });
    expect(operators["QLinearConv"]).toBe(2);
    expect(quantized.graph.constant("w")).toBeDefined();
    expect((await noiseOf(model, quantized))[0]).toBeGreaterThan(20);
  });

  it.each([true, false])("weights that are all zero, per channel %s", async (perChannel) => {
    const model = imageModel(
      [node("Conv", ["x", "w", "b"], ["c"], pads), node("Conv", ["c", "v"], ["y"], pads)],
      [
        floatTensor("w", [4, 4, 3, 3], new Float32Array(144)),
        floatTensor("b", [4], [0.5, -0.25, 0, 1]),
        filters("v", [4, 4, 3, 3], 2),
      ],
    );
    const { quantized, operators } = await quantizeModel(model, { perChannel });
    expect(operators["QLinearConv"]).toBe(2);
    expect((await noiseOf(model, quantized))[0]).toBeGreaterThan(20);
  });

  it("a value that never changes, and one that is always 0", async () => {
    const model = imageModel(
      [
        node("Mul", ["x", "zero"], ["nothing"]),
        node("Conv", ["nothing", "w", "b"], ["c"], pads),
        node("Relu", ["c"], ["r"]),
        node("Conv", ["r", "v"], ["y"], pads),
      ],
      [
        floatTensor("zero", [], [0]),
        filters("w", [4, 4, 3, 3], 1),
        floatTensor("b", [4], [-1, -1, -1, -1]),
        filters("v", [4, 4, 3, 3], 2),
      ],
    );
    for (const activations of ["uint8", "int8"]) {
      const { quantized } = await quantizeModel(model, { activations });
      const output = (await runOnce(quantized.encode(), feedsOf(imageShape)(2))).get("y")!;
      expect(new Set(output.data as Float32Array)).toEqual(new Set([0]));
    }
  });

  it("one constant channel among others", async () => {
    const weights = randomValues(1, 144, 0.3);
    weights.fill(0, 36, 72);
    const model = imageModel(
      [node("Conv", ["x", "w", "b"], ["c"], pads), node("Conv", ["c", "v"], ["y"], pads)],
      [
        floatTensor("w", [4, 4, 3, 3], weights),
        floatTensor("b", [4], [0.1, 0.7, 0, 0]),
        filters("v", [4, 4, 3, 3], 2),
      ],
    );
    const { quantized, operators } = await quantizeModel(model);
    expect(operators["QLinearConv"]).toBe(2);
    expect((await noiseOf(model, quantized))[0]).toBeGreaterThan(25);
  });
});
