/** What is meant to stay float really does, in the graph that onnxruntime runs. */
import { describe, expect, it } from "vitest";
import { runPasses } from "../../../../controller/compress/pass-manager.ts";
import { quantizeStatic } from "../../../../controller/compress/passes/quantize-static.ts";
import type { Model } from "../../../../controller/onnx/model.ts";
import { decodeModel } from "../../../../controller/onnx/proto.ts";
import type { NodeProto } from "../../../../controller/onnx/schema.ts";
import { intTensor } from "../../../../controller/onnx/tensor.ts";
import { optimizedBytes, runOnce, signalToNoise, workbenchOf } from "./run-model.ts";
import { buildModel, feedsOf, filters, node } from "./sample-nets.ts";

const pads = { pads: { ints: [1, 1, 1, 1] } };

async function quantizeModel(model: Model, shape: readonly number[], exclude: readonly string[]) {
  const result = await runPasses({
    model,
    passes: [quantizeStatic.bind({ exclude, reduceRange: true })],
    workbench: workbenchOf(() => [1, 2, 3, 4].map(feedsOf(shape))),
  });
  const { graph } = decodeModel(await optimizedBytes(result.model.encode()));
  const operators = graph!.node.map(({ opType }) => opType ?? "");
  return { ...result, operators };
}

/** An int8 layer, the nodes under test, and an int8 layer behind them. */
function sandwich(
  middle: readonly NodeProto[],
  weights: Readonly<Record<string, readonly number[]>>,
  channels: readonly [before: number, after: number],
): Model {
  const [before, after] = channels;
  return buildModel({
    opset: 13,
    inputShape: [1, 4, 8, 8],
    nodes: [
      node("Conv", ["x", "w_first", "b_first"], ["first"], pads),
      ...middle,
      node("Conv", ["last", "w_last"], ["y"], pads),
    ],
    initializers: [
      filters("w_first", [before, 4, 3, 3], 1),
      filters("b_first", [before], 2),
      filters("w_last", [4, after, 3, 3], 3),
      ...Object.entries(weights).map(([name, shape], at) => filters(name, shape, at + 4)),
    ],
  });
}

describe("stays float between int8 layers", () => {
  it.each([
    [
      "an excluded convolution",
      sandwich(
        [node("Conv", ["first", "w", "b"], ["last"], pads)],
        { w: [8, 8, 3, 3], b: [8] },
        [8, 8],
      ),
    ],
    [
      "an excluded depthwise convolution with its activation",
      sandwich(
        [
          node("Conv", ["first", "w", "b"], ["c"], { ...pads, group: { int: 8 } }),
          node("Relu", ["c"], ["last"]),
        ],
        { w: [8, 1, 3, 3], b: [8] },
        [8, 8],
      ),
    ],
    [
      "an excluded convolution of one channel",
      sandwich(
        [node("Conv", ["first", "w", "b"], ["last"], pads)],
        { w: [8, 1, 3, 3], b: [8] },
        [1, 8],
      ),
    ],
    [
      "an excluded convolution behind pooling",
      sandwich(
        [
          node("MaxPool", ["first"], ["pooled"], { kernel_shape: { ints: [2, 2] } }),
          node("Conv", ["pooled", "w", "b"], ["last"], pads),
        ],
        { w: [8, 8, 3, 3], b: [8] },
        [8, 8],
      ),
    ],
    [
      "a transposed convolution, which has no int8 kernel",
      sandwich(
        [node("ConvTranspose", ["first", "w", "b"], ["last"], { strides: { ints: [2, 2] } })],
        { w: [8, 8, 2, 2], b: [8] },
        [8, 8],
      ),
    ],
  ])("%s", async (_name, model) => {
    const middle = model.graph.nodes.find(
      (each) => each.input(0) !== "x" && each.input(1) === "w",
    )!;
    const shape = [1, 4, 8, 8];
    const { model: quantized, operators } = await quantizeModel(model, shape, [middle.name]);
    expect(operators.filter((opType) => opType === "QLinearConv")).toHaveLength(2);
    const kept = operators.filter((opType) => /^(Conv|FusedConv|ConvTranspose)$/.test(opType));
    expect(kept).toHaveLength(1);
    // With its weights rounded the node reads them through DequantizeLinear.
    expect(quantized.graph.producerOf(middle.input(1))).toBeUndefined();
    const dequantized = operators.filter((opType) => opType === "DequantizeLinear");
    expect(dequantized.length).toBeLessThanOrEqual(2);
    const feeds = feedsOf(shape)(2);
    const data = async (each: Model) =>
      (await runOnce(each.encode(), feeds)).get("y")!.data as Float32Array;
    expect(signalToNoise(await data(model), await data(quantized))).toBeGreaterThan(25);
  });

  it.each([
    ["Gemm", [node("Gemm", ["m1", "w", "b"], ["m2"], { transB: { int: 1 } })], [6, 8]],
    ["MatMul", [node("MatMul", ["m1", "w"], ["m2"])], [8, 6]],
    [
      "MatMul and Add, which become a Gemm",
      [node("MatMul", ["m1", "w"], ["product"]), node("Add", ["product", "b"], ["m2"])],
      [8, 6],
    ],
    [
      "MatMul behind a Reshape that moves codes",
      [
        node("Reshape", ["m1", "wide"], ["moved"]),
        node("MatMul", ["moved", "w"], ["product"]),
        node("Reshape", ["product", "narrow"], ["m2"]),
      ],
      [8, 6],
    ],
  ])("an excluded %s", async (_name, middle, shape) => {
    const model = buildModel({
      opset: 13,
      inputShape: [4, 16],
      nodes: [
        node("Gemm", ["x", "w_first"], ["m0"]),
        node("Sigmoid", ["m0"], ["m1"]),
        ...middle,
        node("MatMul", ["m2", "w_last"], ["left"]),
        node("MatMul", ["m1", "w_right"], ["right"]),
        node("Sub", ["left", "right"], ["y"]),
      ],
      initializers: [
        filters("w_first", [16, 8], 1),
        filters("w", shape, 2),
        filters("b", [6], 3),
        filters("w_last", [6, 3], 4),
        filters("w_right", [8, 3], 5),
      ],
    });
    for (const [name, dims] of [
      ["wide", [1, 4, 8]],
      ["narrow", [4, 6]],
    ] as const) {
      model.graph.setInitializer(intTensor(name, dims));
    }
    const excluded = middle.map(({ name }) => name ?? "");
    const { operators } = await quantizeModel(model, [4, 16], excluded);
    expect(operators.filter((opType) => /^(Gemm|MatMul|FusedMatMul)$/.test(opType))).toHaveLength(
      1,
    );
    const integer = operators.filter((opType) =>
      /^(QGemm|QLinearMatMul|MatMulIntegerToFloat)$/.test(opType),
    );
    expect(integer).toHaveLength(3);
  });

  it("an excluded sum", async () => {
    const model = sandwich(
      [
        node("Conv", ["first", "w"], ["second"], pads),
        node("Add", ["first", "second"], ["sum"]),
        node("Relu", ["sum"], ["last"]),
      ],
      { w: [8, 8, 3, 3] },
      [8, 8],
    );
    const { operators } = await quantizeModel(model, [1, 4, 8, 8], ["sum_node"]);
    expect(operators).toContain("Add");
    expect(operators).not.toContain("QLinearAdd");
    expect(operators.filter((opType) => opType === "QLinearConv")).toHaveLength(3);
  });

  it("a value that a float node makes is read as it is by floats", async () => {
    const model = sandwich(
      [
        node("Tanh", ["first"], ["t"]),
        node("Conv", ["t", "w"], ["c"], pads),
        node("Conv", ["t", "v"], ["d"], pads),
        node("Mul", ["c", "d"], ["last"]),
      ],
      { w: [8, 8, 3, 3], v: [8, 8, 3, 3] },
      [8, 8],
    );
    const { model: quantized } = await quantizeModel(model, [1, 4, 8, 8], ["c_node"]);
    const kept = quantized.graph.nodes.find(({ name }) => name === "c_node")!;
    expect(kept.input(0)).toBe("t");
  });
});
