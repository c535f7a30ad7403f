/** Each operator that changed between operator sets, run before and after its conversion. */
import { describe, expect, it } from "vitest";
import { runPasses } from "../../../../controller/compress/pass-manager.ts";
import { convertOpset } from "../../../../controller/compress/passes/convert-opset.ts";
import { makeGraph, makeNode, makeValueInfo } from "../../../../controller/onnx/build.ts";
import type { TensorData } from "../../../../controller/onnx/data-type.ts";
import type { Model } from "../../../../controller/onnx/model.ts";
import type { NodeProto, TensorProto } from "../../../../controller/onnx/schema.ts";
import { floatTensor, intTensor } from "../../../../controller/onnx/tensor.ts";
import { randomValues } from "../onnx/sample-models.ts";
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

/** Values of float32 constants. */
const values = (name: string, shape: readonly number[]): TensorProto =>
  floatTensor(
    name,
    shape,
    randomValues(
      name.length,
      shape.reduce((product, dim) => product * dim, 1),
    ),
  );

const square = { kernel_shape: ints(3, 3), strides: ints(2, 2) };

const cases: readonly Case[] = [
  {
    name: "Upsample 8, nearest",
    opset: 8,
    nodes: [node("Upsample", ["x"], ["y"], { scales: { floats: [1, 1, 2, 3] } })],
  },
  {
    name: "BatchNormalization 8",
    opset: 8,
    nodes: [node("BatchNormalization", ["x", "g", "b", "m", "v"], ["y"], { spatial: { int: 1 } })],
    initializers: [..."gbm"].map((name) => values(name, [2])).concat(floatTensor("v", [2], [1, 2])),
  },
  {
    name: "Max and Sum 8, several operands",
    opset: 8,
    nodes: [node("Max", ["x", "a"], ["m"]), node("Sum", ["m", "a", "x"], ["y"])],
    initializers: [values("a", [6, 6])],
  },
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
  {
    name: "BatchNormalization 13, further outputs that nobody reads",
    opset: 13,
    nodes: [node("BatchNormalization", ["x", "g", "b", "m", "v"], ["y"])],
    initializers: [..."gbm"].map((name) => values(name, [2])).concat(floatTensor("v", [2], [1, 2])),
  },
  {
    name: "RoiAlign 15",
    opset: 15,
    nodes: [
      node("RoiAlign", ["x", "rois", "batch"], ["y"], {
        output_height: { int: 2 },
        output_width: { int: 2 },
      }),
    ],
    initializers: [floatTensor("rois", [1, 4], [1, 1, 4, 5]), intTensor("batch", [0])],
  },
  {
    name: "GridSample 19, both names",
    opset: 19,
    nodes: [
      node("GridSample", ["x", "grid"], ["y"], { mode: { string: "bicubic" } }),
      node("GridSample", ["x", "grid"], ["z"], { mode: { string: "bilinear" } }),
      node("GridSample", ["x", "grid"], ["n"], { mode: { string: "nearest" } }),
    ],
    initializers: [values("grid", [1, 3, 3, 2])],
    outputs: ["y", "z", "n"],
  },
  {
    name: "DFT 19, default axis",
    opset: 19,
    nodes: [
      node("Unsqueeze", ["x", "last"], ["u"]),
      node("DFT", ["u"], ["y"]),
      node("DFT", ["u"], ["z"], { axis: { int: 3 }, onesided: { int: 1 } }),
    ],
    initializers: [intTensor("last", [-1])],
    outputs: ["y", "z"],
  },
  {
    name: "Split 17, equal",
    opset: 17,
    nodes: [node("Split", ["x"], ["y", "z"], axis(3))],
    outputs: ["y", "z"],
  },
  {
    name: "Split 17, lengths",
    opset: 17,
    nodes: [node("Split", ["x", "lengths"], ["y", "z"], axis(3))],
    initializers: [intTensor("lengths", [1, 5])],
    outputs: ["y", "z"],
  },
  ...["ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin"]
    .concat("ReduceProd", "ReduceSumSquare")
    .flatMap((opType) => [
      {
        name: `${opType} 17, axes`,
        opset: 17,
        nodes: [node(opType, ["x"], ["y"], { axes: ints(-1, 1), keepdims: { int: 0 } })],
      },
      { name: `${opType} 9, all`, opset: 9, nodes: [node(opType, ["x"], ["y"])] },
    ]),
  {
    name: "ReduceLogSum 17",
    opset: 17,
    nodes: [node("Abs", ["x"], ["a"]), node("ReduceLogSum", ["a"], ["y"], { axes: ints(2) })],
  },
  // What no adapter names has to mean the same in all versions; these are the ones that gained a lot.
  {
    name: "AveragePool 10, padded and rounded up",
    opset: 10,
    nodes: [0, 1].map((included) =>
      node("AveragePool", ["x"], [included === 0 ? "y" : "z"], {
        kernel_shape: ints(2, 2),
        strides: ints(3, 3),
        pads: ints(1, 1, 0, 0),
        ceil_mode: { int: 1 },
        count_include_pad: { int: included },
      }),
    ),
    outputs: ["y", "z"],
  },
  ...[9, 11].flatMap((opset) => [
    {
      name: `AveragePool ${opset}, padded`,
      opset,
      nodes: [
        node("AveragePool", ["x"], ["y"], { ...square, pads: ints(1, 1, 1, 1) }),
        node("AveragePool", ["x"], ["z"], {
          ...square,
          pads: ints(1, 1, 1, 1),
          count_include_pad: { int: 1 },
        }),
      ],
      outputs: ["y", "z"],
    },
    {
      name: `MaxPool ${opset} with indices`,
      opset,
      nodes: [node("MaxPool", ["x"], ["y", "at"], square)],
      outputs: ["y"],
    },
    {
      name: `LSTM ${opset}`,
      opset,
      nodes: [
        node("Reshape", ["x", "steps"], ["s"]),
        node("LSTM", ["s", "w", "r"], ["y", "h"], { hidden_size: { int: 2 } }),
      ],
      initializers: [
        intTensor("steps", [6, 1, 12]),
        values("w", [1, 8, 12]),
        values("r", [1, 8, 2]),
      ],
    },
    {
      name: `GRU ${opset}, linear before reset`,
      opset,
      nodes: [
        node("Reshape", ["x", "steps"], ["s"]),
        node("GRU", ["s", "w", "r"], ["y"], {
          hidden_size: { int: 2 },
          linear_before_reset: { int: 1 },
        }),
      ],
      initializers: [
        intTensor("steps", [6, 1, 12]),
        values("w", [1, 6, 12]),
        values("r", [1, 6, 2]),
      ],
    },
  ]),
  {
    name: "Resize 11, linear, half pixel",
    opset: 11,
    nodes: [
      node("Resize", ["x", "roi", "s"], ["y"], {
        mode: { string: "linear" },
        coordinate_transformation_mode: { string: "half_pixel" },
      }),
    ],
    initializers: [floatTensor("roi", [0], []), floatTensor("s", [4], [1, 1, 1.5, 0.5])],
  },
  {
    name: "Resize 11, cubic",
    opset: 11,
    nodes: [
      node("Resize", ["x", "roi", "s"], ["y"], {
        mode: { string: "cubic" },
        cubic_coeff_a: { float: -0.5 },
      }),
    ],
    initializers: [floatTensor("roi", [0], []), floatTensor("s", [4], [1, 1, 2, 2])],
  },
  {
    name: "Pow, Where, CumSum, ScatterElements and Reshape 12",
    opset: 12,
    nodes: [
      node("Abs", ["x"], ["a"]),
      node("Pow", ["a", "e"], ["p"]),
      node("Greater", ["x", "e"], ["g"]),
      node("Where", ["g", "p", "x"], ["w"]),
      node("CumSum", ["w", "at"], ["c"]),
      node("Reshape", ["c", "to"], ["y"]),
    ],
    initializers: [
      floatTensor("e", [], [1.5]),
      intTensor("at", [2], []),
      intTensor("to", [0, -1, 3]),
    ],
  },
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

describe.each([13, 17, 21])("conversion to %i", (target) => {
  const older = cases.filter(({ opset }) => opset < target);
  it.each(older.map((each) => [each.name, each] as const))("%s", async (_name, each) => {
    const model = buildModel({ ...each, inputShape });
    const converted = await convert(model, target);
    expect(converted.opset).toBe(target);
    const [before, after] = [
      await runOnce(model.encode(), feeds),
      await runOnce(converted.encode(), feeds),
    ];
    if (target >= 19 && each.nodes.some(({ opType }) => opType === "AveragePool")) {
      // onnxruntime adds up the windows of AveragePool 19 in another order.
      for (const [name, { data }] of before) expectClose(after.get(name)!.data, data);
    } else {
      expect([...after]).toEqual([...before]);
    }
  });
});

function expectClose(actual: TensorData, expected: TensorData): void {
  expect(actual.length).toBe(expected.length);
  expected.forEach((value, at) => {
    expect(actual[at]).toBeCloseTo(Number(value), 6);
  });
}

describe("conversion", () => {
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
  it("operator sets before 7, and operators whose history is not known", async () => {
    const old = buildModel({ opset: 6, inputShape, nodes: [node("Relu", ["x"], ["y"])] });
    await expect(convert(old)).rejects.toThrow("export it again");
    const unknown = buildModel({ opset: 11, inputShape, nodes: [node("Mystery", ["x"], ["y"])] });
    await expect(convert(unknown)).rejects.toThrow("history is not known");
  });

  it.each([
    ["normalises single activations", 8, "BatchNormalization", { spatial: { int: 0 } }],
    ["groups", 20, "GroupNormalization", { num_groups: { int: 1 } }],
  ] as const)("what has no newer form: %s", async (message, opset, opType, attributes) => {
    const nodes = [node(opType, ["x"], ["y"], attributes)];
    const model = buildModel({ opset, inputShape, nodes });
    const before = model.encode();
    await expect(convert(model, 21)).rejects.toThrow(message === "groups" ? "group" : message);
    expect(model.encode()).toEqual(before);
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
