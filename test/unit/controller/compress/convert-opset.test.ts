/** Each operator that changed between operator sets, run before and after its conversion. */
import { describe, expect, it } from "vitest";
import { runPasses } from "../../../../controller/compress/pass-manager.ts";
import { convertOpset } from "../../../../controller/compress/passes/convert-opset.ts";
import { makeGraph, makeNode, makeValueInfo } from "../../../../controller/onnx/build.ts";
import type { Model } from "../../../../controller/onnx/model.ts";
import type { NodeProto, TensorProto } from "../../../../controller/onnx/schema.ts";
import { floatTensor, intTensor } from "../../../../controller/onnx/tensor.ts";
import { runOnce } from "./run-model.ts";
import { buildModel, feedsOf, node } from "./sample-nets.ts";

interface Case {
  readonly name: string;
  readonly opset: number;
  readonly nodes: readonly NodeProto[];
  readonly initializers?: readonly TensorProto[];
  readonly outputs?: readonly string[];
}

const ints = (...values: number[]) => ({ ints: values });

const cases: readonly Case[] = [
  {
    name: "Slice 9, axes given",
    opset: 9,
    nodes: [
      node("Slice", ["x"], ["y"], { starts: ints(1, -3), ends: ints(3, 100), axes: ints(1, 3) }),
    ],
  },
  {
    name: "Slice 9, axes by position",
    opset: 9,
    nodes: [node("Slice", ["x"], ["y"], { starts: ints(0, 1), ends: ints(1, 3) })],
  },
  { name: "TopK 9", opset: 9, nodes: [node("TopK", ["x"], ["y", "i"], { k: { int: 3 } })] },
  {
    name: "Upsample 9, linear",
    opset: 9,
    nodes: [node("Upsample", ["x", "s"], ["y"], { mode: { string: "linear" } })],
    initializers: [floatTensor("s", [4], [1, 1, 1.5, 2])],
  },
  {
    name: "Resize 10, nearest, down",
    opset: 10,
    nodes: [node("Resize", ["x", "s"], ["y"])],
    initializers: [floatTensor("s", [4], [1, 1, 0.6, 0.6])],
  },
  {
    name: "Clip 10, both bounds",
    opset: 10,
    nodes: [clip({ min: { float: 0 }, max: { float: 1 } })],
  },
  { name: "Clip 10, upper bound", opset: 10, nodes: [clip({ max: { float: 0.5 } })] },
  { name: "Clip 10, lower bound", opset: 10, nodes: [clip({ min: { float: -0.5 } })] },
  { name: "Clip 10, no bound", opset: 10, nodes: [clip({})] },
  {
    name: "Pad 10, reflect",
    opset: 10,
    nodes: [
      node("Pad", ["x"], ["y"], {
        mode: { string: "reflect" },
        pads: ints(0, 0, 2, 1, 0, 0, 1, 0),
      }),
    ],
  },
  {
    name: "Scatter 10",
    opset: 10,
    nodes: [node("Scatter", ["x", "at", "with"], ["y"], { axis: { int: 3 } })],
    initializers: [
      intTensor("at", [1, 0], [1, 1, 1, 2]),
      floatTensor("with", [1, 1, 1, 2], [7, 8]),
    ],
  },
  {
    name: "Dropout 11",
    opset: 11,
    nodes: [node("Dropout", ["x"], ["y"], { ratio: { float: 0.9 } })],
  },
  { name: "Dropout 11, default", opset: 11, nodes: [node("Dropout", ["x"], ["y"])] },
  {
    name: "Unsqueeze and Squeeze 12",
    opset: 12,
    nodes: [
      node("Unsqueeze", ["x"], ["u"], { axes: ints(0, -1) }),
      node("Squeeze", ["u"], ["y"], { axes: ints(-1) }),
    ],
  },
  { name: "Squeeze 12, all", opset: 12, nodes: [node("Squeeze", ["x"], ["y"])] },
  {
    name: "ReduceSum 12",
    opset: 12,
    nodes: [node("ReduceSum", ["x"], ["y"], { axes: ints(1, 2) })],
  },
  { name: "ReduceSum 12, all", opset: 12, nodes: [node("ReduceSum", ["x"], ["y"])] },
  {
    name: "Split 12, lengths",
    opset: 12,
    nodes: [node("Split", ["x"], ["y", "z"], { axis: { int: 2 }, split: ints(2, 4) })],
    outputs: ["y", "z"],
  },
  {
    name: "Split 12, equal",
    opset: 12,
    nodes: [node("Split", ["x"], ["y", "z"], { axis: { int: 3 } })],
    outputs: ["y", "z"],
  },
  ...["Softmax", "LogSoftmax", "Hardmax"].flatMap((opType) => [
    { name: `${opType} 12, default axis`, opset: 12, nodes: [node(opType, ["x"], ["y"])] },
    { name: `${opType} 12, axis 2`, opset: 12, nodes: [node(opType, ["x"], ["y"], axis(2))] },
    { name: `${opType} 12, last axis`, opset: 12, nodes: [node(opType, ["x"], ["y"], axis(3))] },
    { name: `${opType} 12, axis -1`, opset: 12, nodes: [node(opType, ["x"], ["y"], axis(-1))] },
    { name: `${opType} 12, axis -3`, opset: 12, nodes: [node(opType, ["x"], ["y"], axis(-3))] },
  ]),
];

function axis(value: number) {
  return { axis: { int: value } };
}

function clip(bounds: Parameters<typeof node>[3]): NodeProto {
  return node("Clip", ["x"], ["y"], bounds);
}

const inputShape = [1, 2, 6, 6];
const feeds = feedsOf(inputShape)(3);

async function convert(model: Model, target?: number): Promise<Model> {
  const pass = convertOpset.bind(target === undefined ? {} : { target });
  return (await runPasses({ model, passes: [pass] })).model;
}

describe("conversion to 13", () => {
  it.each(cases.map((each) => [each.name, each] as const))("%s", async (_name, each) => {
    const model = buildModel({ ...each, inputShape });
    const converted = await convert(model);
    expect(converted.opset).toBe(13);
    const [before, after] = [
      await runOnce(model.encode(), feeds),
      await runOnce(converted.encode(), feeds),
    ];
    expect([...after]).toEqual([...before]);
  });

  it("keeps Softmax one node where its axis is the last", async () => {
    const model = buildModel({
      opset: 12,
      inputShape,
      nodes: [node("Softmax", ["x"], ["y"], axis(3))],
    });
    const { graph } = await convert(model);
    expect(graph.nodes.map(({ opType }) => opType)).toEqual(["Softmax"]);
  });

  it("finds the rank behind operators that change it", async () => {
    const nodes = [
      node("Transpose", ["x"], ["t"], { perm: ints(0, 2, 3, 1) }),
      node("Flatten", ["t"], ["f"]),
      node("Unsqueeze", ["f"], ["u"], { axes: ints(0) }),
      node("Softmax", ["u"], ["y"], axis(2)),
    ];
    const { graph } = await convert(buildModel({ opset: 12, inputShape, nodes }));
    expect(graph.nodes.map(({ opType }) => opType)).toEqual([
      "Transpose",
      "Flatten",
      "Unsqueeze",
      "Softmax",
    ]);
  });

  it("stops at the version asked for", async () => {
    const model = buildModel({ opset: 9, inputShape, nodes: [clip({ min: { float: 0 } })] });
    const converted = await convert(model, 10);
    expect(converted.opset).toBe(10);
    expect(converted.graph.nodes[0]!.has("min")).toBe(true);
  });
});

describe("refusals", () => {
  it("operator sets before 9, and operators whose history is not known", async () => {
    const old = buildModel({ opset: 8, inputShape, nodes: [node("Relu", ["x"], ["y"])] });
    await expect(convert(old)).rejects.toThrow("export it again");
    const unknown = buildModel({ opset: 11, inputShape, nodes: [node("Mystery", ["x"], ["y"])] });
    await expect(convert(unknown)).rejects.toThrow("history is not known");
  });

  it("changed operators inside a branch", async () => {
    const branch = makeGraph({
      nodes: [makeNode({ opType: "Clip", inputs: ["x"], outputs: ["b"] })],
      inputs: [],
      outputs: [makeValueInfo("b", "float32")],
    });
    const model = buildModel({
      opset: 9,
      inputShape,
      nodes: [
        makeNode({
          opType: "If",
          inputs: ["cond"],
          outputs: ["y"],
          attributes: { then_branch: { graph: branch }, else_branch: { graph: branch } },
        }),
      ],
      initializers: [floatTensor("cond", [], [1])],
    });
    await expect(convert(model)).rejects.toThrow("inside a branch");
  });
});
