/** Operators that exporters spell out: every form that is known, and near misses that must stay. */
import { describe, expect, it } from "vitest";
import { type RunPassesResult, runPasses } from "../../../../controller/compress/pass-manager.ts";
import { findPass } from "../../../../controller/compress/passes/registry.ts";
import type { Model } from "../../../../controller/onnx/model.ts";
import type { NodeProto, TensorProto } from "../../../../controller/onnx/schema.ts";
import { floatTensor } from "../../../../controller/onnx/tensor.ts";
import { randomValues } from "../onnx/sample-models.ts";
import { runOnce, workbenchOf } from "./run-model.ts";
import { buildModel, feedsOf, node, sampleNets } from "./sample-nets.ts";

const inputShape = [2, 3, 8];
const feeds = feedsOf(inputShape)(5);
const scalar = (name: string, value: number): TensorProto => floatTensor(name, [], [value]);

const constants: readonly TensorProto[] = [
  scalar("zero", 0),
  scalar("half", 0.5),
  scalar("one", 1),
  scalar("two", 2),
  floatTensor("three", [1], [3]),
  scalar("four", 4),
  scalar("six", 6),
  scalar("sixth", 1 / 6),
  scalar("root2", 141_421 / 100_000),
  scalar("inverse_root2", Math.SQRT1_2),
  scalar("root2pi", 0.7978845834732056),
  scalar("cube", 0.044715),
  scalar("scaled_cube", 0.044715 * 0.7978845608),
  floatTensor("deep", [1, 1, 1, 1], [1]),
  scalar("epsilon", 1e-5),
  floatTensor("gamma", [8], randomValues(1, 8)),
  floatTensor("beta", [8], randomValues(2, 8)),
  floatTensor("single", [1], [1.5]),
  floatTensor("rows", [3, 1], [1, 2, 3]),
];

function net(nodes: readonly NodeProto[], options: { opset?: number; outputs?: string[] } = {}) {
  return buildModel({ opset: 13, inputShape, nodes, initializers: constants, ...options });
}

async function apply(name: string, model: Model, options?: object): Promise<RunPassesResult> {
  const workbench = workbenchOf(() => [feeds]);
  return runPasses({ model, passes: [findPass(name)!.bind(options)], workbench });
}

const operators = (model: Model): string[] => model.graph.sortedNodes().map(({ opType }) => opType);

/** Outputs before and after, equal but for the order of additions. */
async function expectSameOutputs(before: Model, after: Model, given = feeds): Promise<void> {
  const [old, now] = [await runOnce(before.encode(), given), await runOnce(after.encode(), given)];
  for (const [name, { data, shape }] of old) {
    expect(now.get(name)!.shape).toEqual(shape);
    (data as Float32Array).forEach((value, at) => {
      expect(now.get(name)!.data[at]).toBeCloseTo(value, 5);
    });
  }
}

type Form = readonly [string, readonly NodeProto[]];

/** The forms are found, run the same, and are one node. */
function itFinds(pass: string, opType: string, opset: number, forms: readonly Form[]): void {
  it.each(forms)("%s", async (_name, nodes) => {
    const model = net(nodes);
    const { model: recognized } = await apply(pass, model);
    expect(operators(recognized)).toEqual([opType]);
    expect(recognized.opset).toBe(opset);
    await expectSameOutputs(model, recognized);
  });
}

/** The near misses are left alone, their operator set too. */
function itLeaves(pass: string, forms: readonly Form[]): void {
  it.each(forms)("leaves %s", async (_name, nodes) => {
    const model = net(nodes);
    const { model: same, journal } = await apply(pass, model);
    expect(journal[0]!.modified).toBe(false);
    expect(same.opset).toBe(13);
    expect(operators(same)).toEqual(operators(model));
  });
}

describe("recognize-hard-swish", () => {
  const clipped = (low: string, high: string, by: string): NodeProto[] => [
    node("Add", [by, "x"], ["s"]),
    node("Clip", ["s", low, high], ["k"]),
  ];
  const gated = clipped("zero", "six", "three");

  itFinds("recognize-hard-swish", "HardSwish", 14, [
    [
      "HardSigmoid",
      [
        node("HardSigmoid", ["x"], ["k"], { alpha: { float: 0.16666670143604279 } }),
        node("Mul", ["k", "x"], ["y"]),
      ],
    ],
    ["gate first", [...gated, node("Div", ["k", "six"], ["g"]), node("Mul", ["x", "g"], ["y"])]],
    ["division last", [...gated, node("Mul", ["x", "k"], ["p"]), node("Div", ["p", "six"], ["y"])]],
    ["by a sixth", [...gated, node("Mul", ["sixth", "k"], ["g"]), node("Mul", ["g", "x"], ["y"])]],
    [
      "scaled before the bounds",
      [
        node("Mul", ["x", "sixth"], ["p"]),
        node("Add", ["p", "half"], ["s"]),
        node("Clip", ["s", "zero", "one"], ["k"]),
        node("Mul", ["x", "k"], ["y"]),
      ],
    ],
  ]);

  itLeaves("recognize-hard-swish", [
    ["another slope", [node("HardSigmoid", ["x"], ["k"]), node("Mul", ["k", "x"], ["y"])]],
    [
      "a gate of something else",
      [
        node("Neg", ["x"], ["n"]),
        node("HardSigmoid", ["n"], ["k"], { alpha: { float: 1 / 6 } }),
        node("Mul", ["k", "x"], ["y"]),
      ],
    ],
    [
      "another bound",
      [
        ...clipped("zero", "four", "three"),
        node("Mul", ["x", "k"], ["p"]),
        node("Div", ["p", "six"], ["y"]),
      ],
    ],
    [
      "another shift",
      [
        ...clipped("zero", "six", "two"),
        node("Mul", ["x", "k"], ["p"]),
        node("Div", ["p", "six"], ["y"]),
      ],
    ],
    [
      "another factor",
      [...gated, node("Mul", ["x", "k"], ["p"]), node("Div", ["p", "four"], ["y"])],
    ],
  ]);

  it("leaves a gate that the graph yields", async () => {
    const nodes = [
      node("HardSigmoid", ["x"], ["k"], { alpha: { float: 1 / 6 } }),
      node("Mul", ["k", "x"], ["y"]),
    ];
    const { model } = await apply("recognize-hard-swish", net(nodes, { outputs: ["y", "k"] }));
    expect(operators(model)).toEqual(["HardSigmoid", "Mul"]);
  });
});

describe("a model whose operator set cannot be raised", () => {
  it("is left as it was, also when the refusal comes in the middle", async () => {
    const model = buildModel({
      opset: 12,
      inputShape,
      outputs: ["y", "z"],
      nodes: [
        node("Unsqueeze", ["x"], ["u"], { axes: { ints: [0] } }),
        node("Squeeze", ["u"], ["s"], { axes: { ints: [0] } }),
        node("HardSigmoid", ["s"], ["k"], { alpha: { float: 1 / 6 } }),
        node("Mul", ["k", "s"], ["y"]),
        node("BatchNormalization", ["x", "v", "v", "v", "v"], ["b", "seen"]),
        node("Add", ["b", "seen"], ["z"]),
      ],
      initializers: [floatTensor("v", [3], [1, 2, 3])],
    });
    const before = model.encode();
    const { model: same, journal } = await apply("recognize-hard-swish", model);
    expect(journal[0]!.report["reason"]).toContain("it trains");
    expect(same.encode()).toEqual(before);
  });
});

describe("recognize-gelu", () => {
  const erf = [
    node("Div", ["x", "root2"], ["u"]),
    node("Erf", ["u"], ["e"]),
    node("Add", ["e", "one"], ["s"]),
  ];
  const tanh = (cube: readonly NodeProto[]): NodeProto[] => [
    ...cube,
    node("Add", ["x", "q"], ["i"]),
    node("Mul", ["root2pi", "i"], ["u"]),
    node("Tanh", ["u"], ["t"]),
    node("Add", ["one", "t"], ["s"]),
    node("Mul", ["x", "s"], ["p"]),
    node("Mul", ["half", "p"], ["y"]),
  ];
  itFinds("recognize-gelu", "Gelu", 20, [
    ["half last", [...erf, node("Mul", ["x", "s"], ["p"]), node("Mul", ["p", "half"], ["y"])]],
    ["half of x", [node("Mul", ["x", "half"], ["p"]), ...erf, node("Mul", ["p", "s"], ["y"])]],
    [
      "half of the gate",
      [...erf, node("Mul", ["half", "s"], ["p"]), node("Mul", ["x", "p"], ["y"])],
    ],
    ["halved by Div", [...erf, node("Mul", ["x", "s"], ["p"]), node("Div", ["p", "two"], ["y"])]],
    [
      "multiplied by the inverse root",
      [
        node("Mul", ["inverse_root2", "x"], ["u"]),
        ...erf.slice(1),
        node("Mul", ["x", "s"], ["p"]),
        node("Mul", ["p", "half"], ["y"]),
      ],
    ],
    [
      "tanh, cube by Pow",
      tanh([node("Pow", ["x", "three"], ["c"]), node("Mul", ["cube", "c"], ["q"])]),
    ],
    [
      "tanh, cube by Mul",
      tanh([
        node("Mul", ["x", "x"], ["x2"]),
        node("Mul", ["x", "x2"], ["c"]),
        node("Mul", ["cube", "c"], ["q"]),
      ]),
    ],
    [
      "tanh, x drawn out",
      [
        node("Mul", ["x", "x"], ["x2"]),
        node("Mul", ["x2", "cube"], ["q"]),
        node("Add", ["q", "one"], ["i"]),
        node("Mul", ["x", "root2pi"], ["v"]),
        node("Mul", ["v", "i"], ["u"]),
        node("Tanh", ["u"], ["t"]),
        node("Add", ["one", "t"], ["s"]),
        node("Mul", ["x", "half"], ["p"]),
        node("Mul", ["p", "s"], ["y"]),
      ],
    ],
  ]);
  itLeaves("recognize-gelu", [
    ["another factor", [...erf, node("Mul", ["x", "s"], ["p"]), node("Mul", ["p", "two"], ["y"])]],
    [
      "another root",
      [
        node("Div", ["x", "two"], ["u"]),
        ...erf.slice(1),
        node("Mul", ["x", "s"], ["p"]),
        node("Mul", ["p", "half"], ["y"]),
      ],
    ],
    [
      "a square for the cube",
      tanh([node("Pow", ["x", "two"], ["c"]), node("Mul", ["cube", "c"], ["q"])]),
    ],
    [
      "a constant that adds a dim",
      [
        ...erf.slice(0, 2),
        node("Add", ["e", "deep"], ["s"]),
        node("Mul", ["x", "s"], ["p"]),
        node("Mul", ["p", "half"], ["y"]),
      ],
    ],
  ]);
});

describe("recognize-layer-norm", () => {
  const mean = (input: string, output: string, axis = -1): NodeProto =>
    node("ReduceMean", [input], [output], { axes: { ints: [axis] } });
  const centred = [mean("x", "m"), node("Sub", ["x", "m"], ["d"])];
  const variance = [
    node("Pow", ["d", "two"], ["q"]),
    mean("q", "v"),
    node("Add", ["v", "epsilon"], ["s"]),
    node("Sqrt", ["s"], ["r"]),
  ];
  const normal = [...centred, ...variance, node("Div", ["d", "r"], ["n"])];
  const scaled = node("Mul", ["n", "gamma"], ["z"]);
  itFinds("recognize-layer-norm", "LayerNormalization", 17, [
    ["Div and Pow", [...normal, scaled, node("Add", ["z", "beta"], ["y"])]],
    [
      "constants first",
      [...normal, node("Mul", ["gamma", "n"], ["z"]), node("Add", ["beta", "z"], ["y"])],
    ],
    ["without beta", [...normal, node("Mul", ["n", "gamma"], ["y"])]],
    [
      "the square by Mul, the inverse by Reciprocal",
      [
        ...centred,
        node("Mul", ["d", "d"], ["q"]),
        ...variance.slice(1),
        node("Reciprocal", ["r"], ["i"]),
        node("Mul", ["d", "i"], ["n"]),
        scaled,
        node("Add", ["z", "beta"], ["y"]),
      ],
    ],
    [
      "the mean subtracted twice, the last axis by its number",
      [
        mean("x", "m", 2),
        node("Sub", ["x", "m"], ["d"]),
        node("Sub", ["x", "m"], ["d2"]),
        node("Pow", ["d2", "two"], ["q"]),
        mean("q", "v", 2),
        ...variance.slice(2),
        node("Div", ["d", "r"], ["n"]),
        scaled,
        node("Add", ["z", "beta"], ["y"]),
      ],
    ],
  ]);
  itLeaves("recognize-layer-norm", [
    [
      "another axis",
      [mean("x", "m", 1), ...normal.slice(1), scaled, node("Add", ["z", "beta"], ["y"])],
    ],
    ["a scale of one value", [...normal, node("Mul", ["n", "single"], ["y"])]],
    ["a scale along another axis", [...normal, node("Mul", ["n", "rows"], ["y"])]],
    [
      "the root of something else",
      [
        ...centred,
        node("Pow", ["x", "two"], ["q"]),
        ...variance.slice(1),
        node("Div", ["d", "r"], ["n"]),
        scaled,
        node("Add", ["z", "beta"], ["y"]),
      ],
    ],
  ]);

  it("leaves a model whose operator set cannot be raised, and says why", async () => {
    const model = net([
      ...normal,
      scaled,
      node("Add", ["z", "beta"], ["sum"]),
      node("Mystery", ["sum"], ["y"]),
    ]);
    const before = model.encode();
    const { model: same, journal } = await apply("recognize-layer-norm", model);
    expect(journal[0]!.report).toMatchObject({ recognized: 0, left: 1 });
    expect(journal[0]!.report["reason"]).toContain("history is not known");
    expect(same.encode()).toEqual(before);
  });
});

describe("the spelled out nets", () => {
  it.each([
    [
      "spelled out transformer",
      ["LayerNormalization", "Gelu", "Gemm"],
      ["Erf", "Sqrt", "ReduceMean"],
    ],
    [
      "gated net",
      ["HardSwish", "GlobalAveragePool", "Sigmoid"],
      ["HardSigmoid", "Clip", "ReduceMean"],
    ],
  ] as const)("%s", async (name, present, absent) => {
    const sample = sampleNets.find((each) => each.name === name)!;
    const names = ["recognize-layer-norm", "recognize-gelu", "recognize-hard-swish"].concat([
      "matmul-add-to-gemm",
      "reduce-mean-to-pool",
    ]);
    const passes = names.map((each) => findPass(each)!.bind({}));
    const { model } = await runPasses({
      model: sample.model(),
      passes,
      workbench: workbenchOf(() => [sample.feeds(1)]),
    });
    const found = operators(model);
    for (const opType of present) expect(found).toContain(opType);
    for (const opType of absent) expect(found).not.toContain(opType);
    await expectSameOutputs(sample.model(), model, sample.feeds(2));
  });
});
