/** Products joined with their biases, and means written as pooling. */
import { describe, expect, it } from "vitest";
import type { Feeds } from "../../../../controller/compress/execute.ts";
import { type RunPassesResult, runPasses } from "../../../../controller/compress/pass-manager.ts";
import { findPass } from "../../../../controller/compress/passes/registry.ts";
import type { Model } from "../../../../controller/onnx/model.ts";
import type { NodeProto, TensorProto } from "../../../../controller/onnx/schema.ts";
import { floatTensor, intTensor } from "../../../../controller/onnx/tensor.ts";
import { randomValues } from "../onnx/sample-models.ts";
import { runOnce, signalToNoise, workbenchOf } from "./run-model.ts";
import { buildModel, feedsOf, node } from "./sample-nets.ts";

const feeds = feedsOf([2, 3, 8])(5);

async function apply(name: string, model: Model, options?: object): Promise<RunPassesResult> {
  const workbench = workbenchOf(() => [feeds]);
  return runPasses({ model, passes: [findPass(name)!.bind(options)], workbench });
}

const operators = (model: Model): string[] => model.graph.sortedNodes().map(({ opType }) => opType);

/** Outputs before and after, equal but for the order of additions. */
async function expectSameOutputs(before: Model, after: Model, given: Feeds): Promise<void> {
  const [old, now] = [await runOnce(before.encode(), given), await runOnce(after.encode(), given)];
  for (const [name, { data, shape }] of old) {
    expect(now.get(name)!.shape).toEqual(shape);
    const values = now.get(name)!.data as Float32Array;
    expect(signalToNoise(data as Float32Array, values)).toBeGreaterThan(110);
  }
}

describe("matmul-add-to-gemm", () => {
  const weight = floatTensor("w", [8, 4], randomValues(3, 32));
  const product = (
    shape: readonly (number | string)[],
    bias: TensorProto,
    nodes: readonly NodeProto[] = [
      node("MatMul", ["x", "w"], ["m"]),
      node("Add", ["m", "b"], ["y"]),
    ],
    outputs = ["y"],
  ): Model =>
    buildModel({ opset: 13, inputShape: shape, nodes, outputs, initializers: [weight, bias] });
  const bias = (shape: readonly number[]): TensorProto => {
    const count = shape.reduce((all, dim) => all * dim, 1);
    return floatTensor("b", shape, randomValues(4, count));
  };

  it.each([
    ["[N]", [4], true],
    ["[1, N]", [1, 4], true],
    ["[M, N]", [2, 4], false],
    ["[1]", [1], false],
    ["[1, 1, N], which adds a dim", [1, 1, 4], false],
  ] as const)("a bias of %s", async (_name, shape, isJoined) => {
    const model = product([2, 8], bias(shape));
    const { model: joined } = await apply("matmul-add-to-gemm", model);
    expect(operators(joined)).toEqual(isJoined ? ["Gemm"] : ["MatMul", "Add"]);
    await expectSameOutputs(model, joined, feedsOf([2, 8])(6));
  });

  it("leaves a product that something else reads", async () => {
    const nodes = [
      node("MatMul", ["x", "w"], ["m"]),
      node("Add", ["m", "b"], ["s"]),
      node("Mul", ["s", "m"], ["y"]),
    ];
    const { model } = await apply("matmul-add-to-gemm", product([2, 8], bias([4]), nodes));
    expect(operators(model)).toEqual(["MatMul", "Add", "Mul"]);
  });

  it("leaves inputs of more dims unless it may reshape them", async () => {
    const model = product(["n", 3, 8], bias([4]));
    const { model: same } = await apply("matmul-add-to-gemm", model);
    expect(operators(same)).toEqual(["MatMul", "Add"]);
    const { model: joined } = await apply("matmul-add-to-gemm", model, { anyRank: true });
    expect(operators(joined)).toEqual(["Reshape", "Gemm", "Reshape"]);
    await expectSameOutputs(model, joined, feeds);
    const dynamic = product(["n", "m", 8], bias([4]));
    const { model: computed } = await apply("matmul-add-to-gemm", dynamic, { anyRank: true });
    expect(operators(computed).sort()).toEqual(
      ["Concat", "Gemm", "Reshape", "Reshape", "Shape", "Slice"].sort(),
    );
    await expectSameOutputs(dynamic, computed, feeds);
    const only = { anyRank: true, computedShapes: false };
    const { model: kept } = await apply("matmul-add-to-gemm", dynamic, only);
    expect(operators(kept)).toEqual(["MatMul", "Add"]);
  });

  it("knows the dims behind from what the runtime infers of values that declare none", async () => {
    const model = product(["n", 3, 8], bias([4]), [
      node("Relu", ["x"], ["r"]),
      node("MatMul", ["r", "w"], ["m"]),
      node("Add", ["m", "b"], ["y"]),
    ]);
    const { model: joined } = await apply("matmul-add-to-gemm", model, { anyRank: true });
    expect(operators(joined)).toEqual(["Relu", "Reshape", "Gemm", "Reshape"]);
    await expectSameOutputs(model, joined, feeds);
  });

  it("finds by a run what rules do not tell: the rank behind an unknown operator's output", async () => {
    const model = buildModel({
      opset: 13,
      inputShape: [2, 3, 8],
      nodes: [
        node("Shape", ["x"], ["s"]),
        node("Slice", ["s", "first", "second"], ["head"]),
        node("Concat", ["head", "rest"], ["to"], { axis: { int: 0 } }),
        node("Reshape", ["x", "to"], ["r"]),
        node("MatMul", ["r", "w"], ["m"]),
        node("Add", ["m", "b"], ["y"]),
      ],
      initializers: [
        floatTensor("w", [24, 4], randomValues(3, 96)),
        bias([4]),
        intTensor("first", [0]),
        intTensor("second", [1]),
        intTensor("rest", [24]),
      ],
    });
    const { model: joined } = await apply("matmul-add-to-gemm", model);
    expect(operators(joined)).toContain("Gemm");
    await expectSameOutputs(model, joined, feeds);
  });
});

describe("reduce-mean-to-pool", () => {
  const imageShape = [2, 3, 4, 5];
  const means = (
    axes: readonly number[],
    keepdims: number,
    shape: readonly number[] = imageShape,
  ): Model =>
    buildModel({
      opset: 13,
      inputShape: shape,
      nodes: [
        node("ReduceMean", ["x"], ["y"], { axes: { ints: axes }, keepdims: { int: keepdims } }),
      ],
    });

  it.each([
    [[2, 3], 1, ["GlobalAveragePool"]],
    [[-1, -2], 1, ["GlobalAveragePool"]],
    [[3, 2], 0, ["GlobalAveragePool", "Flatten"]],
    [[2], 1, ["ReduceMean"]],
    [[1, 2, 3], 1, ["ReduceMean"]],
    [[1, 2], 0, ["ReduceMean"]],
  ] as const)("axes %j, keepdims %i", async (axes, keepdims, wanted) => {
    const model = means(axes, keepdims);
    const { model: pooled } = await apply("reduce-mean-to-pool", model);
    expect(operators(pooled)).toEqual(wanted);
    await expectSameOutputs(model, pooled, feedsOf(imageShape)(7));
  });

  it("takes three dims only behind a convolution", async () => {
    const { model } = await apply("reduce-mean-to-pool", means([2], 1, [2, 3, 8]));
    expect(operators(model)).toEqual(["ReduceMean"]);
    const conv = buildModel({
      opset: 13,
      inputShape: [2, 3, 8],
      nodes: [
        node("Conv", ["x", "w"], ["c"]),
        node("Relu", ["c"], ["r"]),
        node("ReduceMean", ["r"], ["y"], { axes: { ints: [-1] }, keepdims: { int: 0 } }),
      ],
      initializers: [floatTensor("w", [4, 3, 3], randomValues(5, 36))],
    });
    const { model: pooled } = await apply("reduce-mean-to-pool", conv);
    expect(operators(pooled)).toEqual(["Conv", "Relu", "GlobalAveragePool", "Flatten"]);
    await expectSameOutputs(conv, pooled, feeds);
  });
});
