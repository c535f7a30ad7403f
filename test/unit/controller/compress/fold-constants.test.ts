/** Constant folding: what is folded, what must stay, and the bound on what is stored. */
import { describe, expect, it } from "vitest";
import { type RunPassesResult, runPasses } from "../../../../controller/compress/pass-manager.ts";
import { foldConstants } from "../../../../controller/compress/passes/fold-constants.ts";
import { makeValueInfo } from "../../../../controller/onnx/build.ts";
import type { Model } from "../../../../controller/onnx/model.ts";
import type { TensorProto } from "../../../../controller/onnx/schema.ts";
import { floatTensor, makeTensor, tensorNumbers } from "../../../../controller/onnx/tensor.ts";
import { randomValues } from "../onnx/sample-models.ts";
import { runOnce, workbenchOf } from "./run-model.ts";
import { buildModel, feedsOf, node, sampleNets } from "./sample-nets.ts";

const workbench = workbenchOf(() => []);

function fold(model: Model, options?: object): Promise<RunPassesResult> {
  return runPasses({ model, passes: [foldConstants.bind(options)], workbench });
}

const operators = ({ model }: RunPassesResult): string[] =>
  model.graph.sortedNodes().map(({ opType }) => opType);

/** `nodes` make the constant k, which is added to the input. */
function added(
  nodes: Parameters<typeof buildModel>[0]["nodes"],
  initializers: TensorProto[],
): Model {
  return buildModel({
    opset: 13,
    inputShape: [1, 4],
    nodes: [...nodes, node("Add", ["x", "k"], ["y"])],
    initializers,
  });
}

describe("fold-constants", () => {
  const net = sampleNets.find(({ name }) => name === "computed constants")!;

  it("keeps of computed constants only the one that would grow", async () => {
    const folded = await fold(net.model());
    expect(operators(folded)).toEqual(["MatMul", "Div", "Expand", "Mul", "If", "Concat"]);
    expect(folded.journal[0]!.report).toMatchObject({ folded: 7, shapes: 1, left: 1 });
    const { initializers } = folded.model.graph;
    expect([...initializers.keys()].sort()).toEqual(
      ["b2", "large", "on", "one", "root", "total", "w3"].sort(),
    );
    const feeds = net.feeds(4);
    const [before, after] = [
      await runOnce(net.model().encode(), feeds),
      await runOnce(folded.model.encode(), feeds),
    ];
    expect([...after]).toEqual([...before]);
  });

  it("stores what grows when it may", async () => {
    const folded = await fold(net.model(), { growthBytesMax: 4000 });
    expect(operators(folded)).not.toContain("Expand");
    expect(folded.model.graph.declaredShape("wide")).toEqual([200, 4]);
  });

  it("copies no weight that something else reads too", async () => {
    const tied = buildModel({
      opset: 13,
      inputShape: [1, 20],
      nodes: [
        node("MatMul", ["x", "w"], ["m"]),
        node("Transpose", ["w"], ["wt"]),
        node("MatMul", ["m", "wt"], ["y"]),
      ],
      initializers: [floatTensor("w", [20, 30], randomValues(1, 600))],
    });
    expect(operators(await fold(tied))).toEqual(["MatMul", "Transpose", "MatMul"]);
    expect(operators(await fold(tied, { growthBytesMax: 2400 }))).toEqual(["MatMul", "MatMul"]);
  });

  it("says that it skipped without a runtime, but reads shapes all the same", async () => {
    const { model, journal } = await runPasses({
      model: net.model(),
      passes: [foldConstants.bind({})],
    });
    expect(journal[0]!.report["skipped"]).toContain("runtime");
    expect(journal[0]!.report["shapes"]).toBe(1);
    expect(model.graph.nodes.map(({ opType }) => opType)).toContain("Reshape");
  });

  it("says that it skipped what the runtime cannot compute", async () => {
    const model = added(
      [node("Reshape", ["c", "to"], ["k"])],
      [floatTensor("c", [4], [1, 2, 3, 4]), floatTensor("to", [1], [4])],
    );
    const { journal } = await fold(model);
    expect(journal[0]).toMatchObject({ modified: false, report: { folded: 0, left: 1 } });
    expect(journal[0]!.report["skipped"]).toContain("cannot compute");
  });

  it.each([
    ["random numbers", [node("RandomNormalLike", ["c"], ["k"])]],
    ["a weight in its 8-bit form", [node("DequantizeLinear", ["q", "s"], ["k"])]],
    ["NaN", [node("Log", ["negative"], ["k"])]],
  ])("leaves %s", async (_name, nodes) => {
    const model = added(nodes, [
      floatTensor("c", [4], [1, 2, 3, 4]),
      floatTensor("negative", [4], [-1, 1, 1, 1]),
      makeTensor({ name: "q", type: "int8", shape: [], data: Int8Array.of(5) }),
      floatTensor("s", [], [0.5]),
    ]);
    expect(operators(await fold(model))).toContain(nodes[0]!.opType);
  });

  it("keeps the node of a constant that the graph yields, and folds what it reads", async () => {
    const model = buildModel({
      opset: 13,
      inputShape: [1],
      outputs: ["y", "k"],
      nodes: [node("Neg", ["c"], ["n"]), node("Neg", ["n"], ["k"]), node("Relu", ["x"], ["y"])],
      initializers: [floatTensor("c", [1], [2])],
    });
    const folded = await fold(model);
    expect(operators(folded)).toEqual(["Neg", "Relu"]);
    expect(tensorNumbers(folded.model.graph.initializers.get("n")!)).toEqual([-2]);
  });

  it("takes no default of an input for a constant", async () => {
    const model = added([node("Neg", ["c"], ["k"])], [floatTensor("c", [1], [2])]);
    model.graph.setInputInfos([...model.graph.inputs, makeValueInfo("c", "float32", [1])]);
    expect(operators(await fold(model))).toContain("Neg");
  });

  it("reads the shape of a value in the middle only where all inputs are fixed", async () => {
    const shapeOf = (length: number | string): Model => {
      const model = buildModel({
        opset: 15,
        inputShape: [length, 4],
        nodes: [
          node("Relu", ["x"], ["r"]),
          node("Shape", ["r"], ["s"], { start: { int: -1 } }),
          node("Reshape", ["r", "s"], ["y"]),
        ],
      });
      model.graph.setInfo("r", makeValueInfo("r", "float32", [1, 4]));
      return model;
    };
    const fixed = await fold(shapeOf(1));
    expect(operators(fixed)).toEqual(["Relu", "Reshape"]);
    expect(tensorNumbers(fixed.model.graph.initializers.get("s")!)).toEqual([4]);
    expect(operators(await fold(shapeOf("n")))).toContain("Shape");
    expect(await runOnce(fixed.model.encode(), feedsOf([1, 4])(1))).toBeDefined();
  });
});
