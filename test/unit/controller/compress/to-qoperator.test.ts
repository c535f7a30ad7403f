/** QOperator form: the bits and kernels of the QDQ form, and what has to stay in it. */
import { describe, expect, it } from "vitest";
import type { TensorValue } from "../../../../controller/compress/execute.ts";
import { auditFusion } from "../../../../controller/compress/fusion-audit.ts";
import { runPasses } from "../../../../controller/compress/pass-manager.ts";
import { findPass } from "../../../../controller/compress/passes/registry.ts";
import { type AttributeInputs, makeValueInfo } from "../../../../controller/onnx/build.ts";
import type { Model } from "../../../../controller/onnx/model.ts";
import type { NodeProto, TensorProto } from "../../../../controller/onnx/schema.ts";
import { floatTensor, intTensor, makeTensor } from "../../../../controller/onnx/tensor.ts";
import { optimizedBytes, runOnce, workbenchOf } from "./run-model.ts";
import { buildModel, feedsOf, node, sampleNets } from "./sample-nets.ts";
import { byteTensor, int8Tensor, pair, quantizedNet } from "./sample-quantized-net.ts";

const shape = [1, 4, 6, 6];
const feeds = feedsOf(shape);

async function converted(model: Model, options: Record<string, unknown> = { when: "always" }) {
  const passes = [findPass("to-qoperator")!.bind(options)];
  const workbench = workbenchOf(() => [1, 2].map(feeds));
  const { model: result, journal } = await runPasses({ model, passes, workbench });
  return { result, report: journal[0]!.report };
}

const bits = (outputs: ReadonlyMap<string, TensorValue>): Uint8Array[] =>
  [...outputs.values()].map(
    ({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  );

async function expectSame(before: Model, after: Model, feedsOfSeed = feeds): Promise<void> {
  for (const seed of [3, 4]) {
    const [old, now] = [before, after].map((model) => runOnce(model.encode(), feedsOfSeed(seed)));
    expect(bits(await now!)).toEqual(bits(await old!));
  }
  const [old, now] = [before, after].map(async (model) =>
    auditFusion(await optimizedBytes(model.encode())),
  );
  expect((await now!).operators).toEqual((await old!).operators);
}

const constants: TensorProto[] = [
  floatTensor("s1", [], [0.03]),
  byteTensor("z1", 120),
  floatTensor("s2", [], [0.05]),
  byteTensor("z2", 100),
  byteTensor("z0", 0),
];

/** x between pairs, `nodes` from x_d to y, then the pair of y and a float output. */
function between(
  nodes: readonly NodeProto[],
  more: readonly TensorProto[] = [],
  [scale, zeroPoint] = ["s2", "z2"],
): Model {
  return buildModel({
    opset: 13,
    inputShape: shape,
    outputs: ["y_d"],
    nodes: [...pair("x", "s1", "z1"), ...nodes, ...pair("y", scale!, zeroPoint!)],
    initializers: [...constants, ...more],
  });
}

const one = (opType: string, attributes: AttributeInputs = {}): NodeProto =>
  node(opType, ["x_d"], ["y"], attributes);

const window = { kernel_shape: { ints: [2, 2] }, strides: { ints: [2, 2] } };

describe("operators on codes", () => {
  it.each<[string, Model, string]>([
    ["Sigmoid", between([one("Sigmoid")]), "QLinearSigmoid"],
    ["LeakyRelu", between([one("LeakyRelu", { alpha: { float: 0.2 } })]), "QLinearLeakyRelu"],
    ["Softmax", between([one("Softmax", { axis: { int: 1 } })]), "QLinearSoftmax"],
    ["Softmax of the last axis", between([one("Softmax")]), "QLinearSoftmax"],
    ["AveragePool", between([one("AveragePool", window)]), "QLinearAveragePool"],
    ["GlobalAveragePool", between([one("GlobalAveragePool")]), "QLinearGlobalAveragePool"],
    ["Add", between([node("Add", ["x_d", "x_d"], ["y"])]), "QLinearAdd"],
    ["Mul", between([node("Mul", ["x_d", "x_d"], ["y"])]), "QLinearMul"],
    [
      "Concat",
      between([
        node("Sigmoid", ["x_d"], ["t"]),
        ...pair("t", "s2", "z0"),
        node("Concat", ["x_d", "t_d", "x_d"], ["y"], { axis: { int: 1 } }),
      ]),
      "QLinearConcat",
    ],
    [
      "MatMul of activations",
      between([
        node("Transpose", ["x_d"], ["t"], { perm: { ints: [0, 1, 3, 2] } }),
        ...pair("t", "s1", "z1"),
        node("MatMul", ["x_d", "t_d"], ["y"]),
      ]),
      "QLinearMatMul",
    ],
    [
      "MatMul of a weight per column",
      between(
        [
          node("DequantizeLinear", ["w", "sw", "zw"], ["w_d"], { axis: { int: 1 } }),
          node("MatMul", ["x_d", "w_d"], ["y"]),
        ],
        [
          int8Tensor("w", [6, 3], 1),
          floatTensor("sw", [3], [0.01, 0.02, 0.03]),
          makeTensor({ name: "zw", type: "int8", shape: [3], data: new Int8Array(3) }),
        ],
      ),
      "QLinearMatMul",
    ],
    [
      "MatMul of a weight per column without zero points",
      between(
        [
          node("DequantizeLinear", ["w", "sw"], ["w_d"], { axis: { int: 1 } }),
          node("MatMul", ["x_d", "w_d"], ["y"]),
        ],
        [int8Tensor("w", [6, 3], 1), floatTensor("sw", [3], [0.01, 0.02, 0.03])],
      ),
      "QLinearMatMul",
    ],
    [
      "Conv per tensor, without zero point",
      between(
        [
          node("DequantizeLinear", ["w", "s2"], ["w_d"]),
          node("Conv", ["x_d", "w_d"], ["y"], { strides: { ints: [2, 2] } }),
        ],
        [int8Tensor("w", [5, 4, 3, 3], 1)],
      ),
      "QLinearConv",
    ],
    [
      "Where",
      between(
        [node("Where", ["mask", "x_d", "x_d"], ["y"])],
        [
          makeTensor({
            name: "mask",
            type: "bool",
            shape: [6],
            data: Uint8Array.of(1, 0, 1, 0, 1, 1),
          }),
        ],
      ),
      "QLinearWhere",
    ],
  ])("%s", async (_name, model, opType) => {
    const { result, report } = await converted(model);
    expect(result.graph.nodes.map((each) => each.opType)).toContain(opType);
    expect(report["kept"]).toEqual([]);
    await expectSame(model, result);
  });

  it.each<[string, NodeProto, TensorProto[]]>([
    ["MaxPool", one("MaxPool", window), []],
    ["Transpose", one("Transpose", { perm: { ints: [0, 2, 3, 1] } }), []],
    ["Reshape", node("Reshape", ["x_d", "to"], ["y"]), [intTensor("to", [4, 36])]],
    [
      "Slice",
      node("Slice", ["x_d", "from", "end"], ["y"]),
      [intTensor("from", [0, 1]), intTensor("end", [1, 3])],
    ],
  ])("%s moves codes when their meaning stays", async (opType, moving, more) => {
    const model = between([moving], more, ["s1", "z1"]);
    const { result, report } = await converted(model);
    expect(report).toMatchObject({ moved: 1 });
    const types = result.graph.sortedNodes().map((each) => each.opType);
    expect(types).toEqual(["QuantizeLinear", opType, "DequantizeLinear"]);
    await expectSame(model, result);
    const other = await converted(between([moving], more));
    expect(other.report["kept"]).toEqual([expect.stringContaining("would not mean the same")]);
    expect(other.report).toMatchObject({ moved: 0 });
  });

  it("a whole net, of which nothing stays in QDQ form but its ends", async () => {
    const model = quantizedNet.model();
    const { result, report } = await converted(model);
    expect(report).toMatchObject({ converted: 5, moved: 2, kept: [] });
    const types = result.graph.nodes.map((each) => each.opType);
    expect(types.filter((type) => /^(Q|Deq)uantizeLinear$/.test(type))).toEqual(["QuantizeLinear"]);
    // A convolution takes one zero for all channels, a Gemm one for each.
    expect(result.graph.initializers.has("zw")).toBe(false);
    expect(result.graph.initializers.has("zwg")).toBe(true);
    await expectSame(model, result, quantizedNet.feeds);
  });

  it("what quantize-static makes of a residual net", async () => {
    const net = sampleNets[0]!;
    const workbench = workbenchOf(() => [1, 2, 3].map(net.feeds));
    const passes = ["constants-to-initializers", "fold-batch-norm", "quantize-static"].map((name) =>
      findPass(name)!.bind(undefined),
    );
    const { model } = await runPasses({ model: net.model(), passes, workbench });
    const { result, report } = await converted(model);
    // The sum stays: nothing quantizes what it yields.
    expect(report).toMatchObject({ converted: 3, kept: [expect.stringContaining("sum_node")] });
    await expectSame(model, result, net.feeds);
  });
});

describe("what stays in QDQ form", () => {
  const convolution = (bias: NodeProto[], biasName: string, more: TensorProto[]): Model =>
    between(
      [
        node("DequantizeLinear", ["w", "s2"], ["w_d"]),
        ...bias,
        node("Conv", ["x_d", "w_d", biasName], ["y"]),
      ],
      [int8Tensor("w", [2, 4, 3, 3], 1), ...more],
    );

  it("a convolution with a float bias", async () => {
    const model = convolution([], "b", [floatTensor("b", [2], [1, 2])]);
    const { result, report } = await converted(model);
    expect(report["kept"]).toEqual(["y_node: its bias is not int32 codes"]);
    expect(result.graph.nodes.some((each) => each.opType === "Conv")).toBe(true);
  });

  it("an operator that reads a float beside codes", async () => {
    const model = between([node("Add", ["x_d", "f"], ["y"])], [floatTensor("f", [], [0.5])]);
    const { report } = await converted(model);
    expect(report["kept"]).toEqual(["y_node: not all of its inputs are codes"]);
  });

  it("a Gemm whose weight names no zero point, which the runtime computes in float", async () => {
    const model = between(
      [
        node("Reshape", ["x_d", "to"], ["f"]),
        ...pair("f", "s1", "z1"),
        node("DequantizeLinear", ["w", "s2"], ["w_d"]),
        node("Gemm", ["f_d", "w_d"], ["y"]),
      ],
      [int8Tensor("w", [6, 3], 1), intTensor("to", [24, 6])],
    );
    const { result, report } = await converted(model);
    expect(report["kept"]).toEqual([expect.stringContaining("names no zero point")]);
    await expectSame(model, result);
  });

  it("a weight with a scale per row that is summed over, and a constant per channel of a sum", async () => {
    const matMul = between(
      [
        node("DequantizeLinear", ["w", "sw"], ["w_d"], { axis: { int: 0 } }),
        node("MatMul", ["x_d", "w_d"], ["y"]),
      ],
      [int8Tensor("w", [6, 6], 1), floatTensor("sw", [6], [0.01, 0.02, 0.03, 0.01, 0.02, 0.03])],
    );
    const sum = between(
      [
        node("DequantizeLinear", ["k", "sk", "zk"], ["k_d"], { axis: { int: -1 } }),
        node("Add", ["x_d", "k_d"], ["y"]),
      ],
      [
        makeTensor({ name: "k", type: "uint8", shape: [6], data: Uint8Array.of(1, 2, 3, 4, 5, 6) }),
        makeTensor({ name: "zk", type: "uint8", shape: [6], data: new Uint8Array(6) }),
        floatTensor("sk", [6], [0.01, 0.02, 0.03, 0.01, 0.02, 0.03]),
      ],
    );
    for (const model of [matMul, sum]) {
      const { report } = await converted(model);
      expect(report["kept"]).toEqual([expect.stringContaining("axis of output channels")]);
    }
  });

  it("a Relu that cuts codes off, with the operator before it", async () => {
    const relu = (zeroPoint: string): Model =>
      between(
        [node("Add", ["x_d", "x_d"], ["a"]), node("Relu", ["a"], ["y"])],
        [],
        ["s2", zeroPoint],
      );
    const { report } = await converted(relu("z2"));
    expect(report["kept"]).toEqual([expect.stringContaining("a_node")]);
    const { result, report: needless } = await converted(relu("z0"));
    expect(needless).toMatchObject({ converted: 1, kept: [] });
    await expectSame(relu("z0"), result);
  });

  it("int8 activations, unless they are wanted", async () => {
    const zero = makeTensor({ name: "zi", type: "int8", shape: [], data: Int8Array.of(-3) });
    const model = buildModel({
      opset: 13,
      inputShape: shape,
      outputs: ["y_d"],
      nodes: [
        ...pair("x", "s1", "zi"),
        node("Add", ["x_d", "x_d"], ["y"]),
        ...pair("y", "s2", "zi"),
      ],
      initializers: [...constants, zero],
    });
    const { report } = await converted(model);
    expect(report["kept"]).toEqual(["y_node: its activations are int8"]);
    const wanted = await converted(model, { when: "always", int8Activations: true });
    expect(wanted.report).toMatchObject({ converted: 1 });
  });
});

describe("when it is smaller", () => {
  it("the form is kept, after a run that compares both", async () => {
    const model = quantizedNet.model();
    const passes = ["to-qoperator", "compact"].map((name) => findPass(name)!.bind(undefined));
    const workbench = workbenchOf(() => [1, 2].map(quantizedNet.feeds));
    const { model: small, journal } = await runPasses({ model, passes, workbench });
    expect(journal[0]!.modified).toBe(true);
    const { model: plain } = await runPasses({ model, passes: passes.slice(1), workbench });
    expect(small.encode().length).toBeLessThan(0.85 * plain.encode().length);
    await expectSame(model, small, quantizedNet.feeds);
  });

  it("a model whose outputs differ from run to run is left alone", async () => {
    const model = between([node("Add", ["x_d", "x_d"], ["y"])]);
    model.graph.addNode({
      opType: "RandomNormal",
      inputs: [],
      outputs: ["noise"],
      attributes: { shape: { ints: shape } },
    });
    model.graph.addNode({ opType: "Add", inputs: ["y_d", "noise"], outputs: ["noisy"] });
    model.graph.setOutputInfos([makeValueInfo("noisy", "float32")]);
    const { result, report } = await converted(model, {});
    expect(report).toMatchObject({ refusal: "the outputs on the first samples differ" });
    expect(result.encode()).toEqual(model.encode());
  });

  it("a file that would grow is left alone", async () => {
    // The DequantizeLinear stays for a float reader, so only a QuantizeLinear goes for a longer node.
    const model = between([one("LeakyRelu")]);
    model.graph.addNode({ opType: "Neg", inputs: ["x_d"], outputs: ["negative"] });
    model.graph.setOutputInfos([...model.graph.outputs, makeValueInfo("negative", "float32")]);
    const { report } = await converted(model, {});
    expect(report).toMatchObject({ converted: 0, refusal: expect.stringMatching(/instead of/) });
  });
});
