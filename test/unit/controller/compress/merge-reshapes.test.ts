/** Reshapes that undo one another go, and only those. */
import { describe, expect, it } from "vitest";
import { runPasses } from "../../../../controller/compress/pass-manager.ts";
import { findPass } from "../../../../controller/compress/passes/registry.ts";
import { makeValueInfo } from "../../../../controller/onnx/build.ts";
import type { Model } from "../../../../controller/onnx/model.ts";
import type { NodeProto } from "../../../../controller/onnx/schema.ts";
import { intTensor } from "../../../../controller/onnx/tensor.ts";
import { FleetError } from "../../../../shared/errors.ts";
import { flattenedNet } from "./flattened-net.ts";
import { runOnce, workbenchOf } from "./run-model.ts";
import { buildModel, feedsOf, node, weights } from "./sample-nets.ts";

const feeds = feedsOf([2, 3, 8])(5);

interface Merged {
  readonly operators: readonly string[];
  readonly model: Model;
}

/** The nodes after the pass over a net that reads `x`; its outputs are the same numbers. */
async function merged(
  nodes: readonly NodeProto[],
  { inputShape = ["n", 3, 8], outputs = ["y"], opset = 17 } = {},
): Promise<Merged> {
  const source = buildModel({
    ...{ opset, inputShape, nodes, outputs },
    initializers: [
      intTensor("rows", [-1, 8]),
      intTensor("dims", [-1, 3, 8]),
      intTensor("heads", [0, 3, 2, 4]),
      intTensor("lengths", [6, 4, 2]),
      weights("w", [8, 8], 1, 0.4),
      weights("c", [8], 2, 0.5),
      weights("places", [1, 3, 8], 3, 0.5),
    ],
  });
  // As `matmul-add-to-gemm` leaves it: -1 for the batch, whose name is kept beside.
  source.graph.setInfo("m", makeValueInfo("m", "float32", inputShape));
  const passes = [findPass("merge-reshapes")!.bind(undefined)];
  const { model } = await runPasses({
    model: source,
    passes,
    workbench: workbenchOf(() => [feeds]),
  });
  const [old, now] = [await runOnce(source.encode(), feeds), await runOnce(model.encode(), feeds)];
  expect(now).toEqual(old);
  return { model, operators: model.graph.sortedNodes().map(({ opType }) => opType) };
}

const flattened = node("Reshape", ["x", "rows"], ["x2"]);
const product = node("MatMul", ["x2", "w"], ["m2"]);
const back = node("Reshape", ["m2", "dims"], ["m"]);

describe("a Reshape of a Reshape", () => {
  it("reads what the inner one reads", async () => {
    const { operators } = await merged([flattened, node("Reshape", ["x2", "lengths"], ["y"])]);
    expect(operators).toEqual(["Reshape"]);
  });

  it("is written without the length that it copies from the inner one", async () => {
    const { operators } = await merged([
      ...[flattened, product, back],
      node("Reshape", ["m", "heads"], ["y"]),
    ]);
    expect(operators).toEqual(["Reshape", "MatMul", "Reshape"]);
  });

  it("keeps an inner one that something else reads", async () => {
    const { operators } = await merged(
      [flattened, node("Reshape", ["x2", "lengths"], ["y"]), node("Relu", ["x2"], ["z"])],
      { outputs: ["y", "z"] },
    );
    expect(operators.toSorted()).toEqual(["Relu", "Reshape", "Reshape"]);
  });
});

describe("an operator that keeps rows by themselves", () => {
  const again = node("Reshape", ["a", "rows"], ["a2"]);
  const last = node("MatMul", ["a2", "w"], ["y"]);
  const between = (...nodes: NodeProto[]) =>
    merged([flattened, product, back, ...nodes, again, last]);

  it.each([
    ["Relu", node("Relu", ["m"], ["a"])],
    ["Add of a vector", node("Add", ["m", "c"], ["a"])],
    ["Softmax along the last axis", node("Softmax", ["m"], ["a"], { axis: { int: 2 } })],
    ["LayerNormalization", node("LayerNormalization", ["m", "c", "c"], ["a"])],
  ])("works on rows: %s", async (_name, each) => {
    const { operators } = await between(each);
    expect(operators).toEqual(["Reshape", "MatMul", each.opType, "MatMul"]);
  });

  it("moves on a shape that is computed", async () => {
    const shape = [node("Shape", ["x"], ["computed"]), node("Reshape", ["m2", "computed"], ["m"])];
    const { operators } = await merged(
      [flattened, product, ...shape, node("Relu", ["m"], ["a"]), again, last],
      { inputShape: ["n", "m", 8] },
    );
    // What computed the shape is left to `remove-dead-nodes`.
    expect(operators).toEqual(["Reshape", "MatMul", "Shape", "Relu", "MatMul"]);
  });

  it("stays where as many Reshapes would be needed behind it", async () => {
    const { operators } = await merged(
      [flattened, product, back, node("Relu", ["m"], ["r"]), node("Sigmoid", ["m"], ["s"])].concat(
        node("Add", ["r", "places"], ["y"]),
        node("Add", ["s", "places"], ["z"]),
      ),
      { outputs: ["y", "z"] },
    );
    expect(operators.slice(0, 3)).toEqual(["Reshape", "MatMul", "Reshape"]);
    expect(operators.filter((each) => each === "Reshape")).toHaveLength(2);
  });

  it("takes the flat form of what is added, too", async () => {
    const { operators } = await between(node("Add", ["m", "x"], ["s"]), node("Relu", ["s"], ["a"]));
    expect(operators).toEqual(["Reshape", "MatMul", "Add", "Relu", "MatMul"]);
  });

  it.each([
    ["Softmax along another axis", node("Softmax", ["m"], ["a"], { axis: { int: 1 } })],
    ["Add of values with a place", node("Add", ["m", "places"], ["a"])],
    ["Transpose", node("Transpose", ["m"], ["a"], { perm: { ints: [1, 0, 2] } })],
  ])("needs the dims: %s", async (_name, each) => {
    const { operators } = await between(each);
    expect(operators).toEqual(["Reshape", "MatMul", "Reshape", each.opType, "Reshape", "MatMul"]);
  });

  it("keeps the dims of values whose lengths may differ", async () => {
    // The mean over the batch has one row where x has n, which are added to each of them.
    const { operators } = await between(
      node("ReduceMean", ["x"], ["mean"], { axes: { ints: [0] } }),
      node("Add", ["m", "mean"], ["a"]),
    );
    expect(operators.filter((each) => each === "Reshape")).toHaveLength(3);
  });
});

it("does without the runtime where that refuses to tell every value", async () => {
  const source = flattenedNet.model();
  const load = async () => {
    throw new FleetError("onnx-malformed", "refused");
  };
  const passes = [findPass("merge-reshapes")!.bind(undefined)];
  const workbench = { ...workbenchOf(() => [feeds]), load };
  const { model } = await runPasses({ model: source, passes, workbench });
  const old = await runOnce(source.encode(), feeds);
  expect(await runOnce(model.encode(), feeds)).toEqual(old);
});

it("leaves operator sets in which Softmax works on what is flattened", async () => {
  const { operators } = await merged([flattened, node("Reshape", ["x2", "lengths"], ["y"])], {
    opset: 12,
  });
  expect(operators).toEqual(["Reshape", "Reshape"]);
});

it("keeps a Reshape whose output is the graph's", async () => {
  const nodes = [
    ...[flattened, product, back],
    node("Relu", ["m"], ["y"]),
    node("Reshape", ["y", "rows"], ["z"]),
  ];
  const { model } = await merged(nodes, { outputs: ["y", "z"] });
  expect(model.graph.outputNames).toEqual(["y", "z"]);
});
