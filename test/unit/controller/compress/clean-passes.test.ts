/** Folding and removal: the cases, and above all the ones where nothing may be folded. */
import { describe, expect, it } from "vitest";
import { runPasses } from "../../../../controller/compress/pass-manager.ts";
import { findPass } from "../../../../controller/compress/passes/registry.ts";
import { makeGraph, makeNode, makeValueInfo } from "../../../../controller/onnx/build.ts";
import type { Model } from "../../../../controller/onnx/model.ts";
import { floatTensor, makeTensor } from "../../../../controller/onnx/tensor.ts";
import { randomValues } from "../onnx/sample-models.ts";
import { runOnce } from "./run-model.ts";
import { buildModel, feedsOf, node, sampleNets } from "./sample-nets.ts";

async function apply(model: Model, ...names: string[]): Promise<Model> {
  const passes = names.map((name) => findPass(name)!.bind({}));
  return (await runPasses({ model, passes })).model;
}

const operators = (model: Model): string[] => model.graph.sortedNodes().map(({ opType }) => opType);

const convShape = [2, 3, 4, 4];

/** Conv (no bias) of 3 to 4 channels, then whatever `tail` says, ending in y. */
function convThen(
  tail: Parameters<typeof buildModel>[0]["nodes"],
  constants: Readonly<Record<string, readonly number[]>> = {},
  outputs: readonly string[] = ["y"],
): Model {
  return buildModel({
    opset: 13,
    inputShape: convShape,
    outputs,
    nodes: [node("Conv", ["x", "w"], ["c"]), ...tail],
    initializers: [
      floatTensor("w", [4, 3, 1, 1], randomValues(1, 12)),
      ...Object.entries(constants).map(([name, shape]) => {
        const count = shape.reduce((product, dim) => product * dim, 1);
        return floatTensor(name, shape, randomValues(name.length, count).map(Math.abs));
      }),
    ],
  });
}

async function expectSameOutputs(before: Model, after: Model): Promise<void> {
  const feeds = feedsOf(convShape)(2);
  const [old, now] = [await runOnce(before.encode(), feeds), await runOnce(after.encode(), feeds)];
  for (const [name, { data }] of old) {
    const values = now.get(name)!.data as Float32Array;
    (data as Float32Array).forEach((value, at) => {
      expect(values[at]).toBeCloseTo(value, 4);
    });
  }
}

describe("the clean passes together", () => {
  it("leave of the residual net only what computes", async () => {
    const [residual] = sampleNets;
    const clean = await apply(
      residual!.model(),
      "constants-to-initializers",
      "remove-identity",
      "fold-batch-norm",
      "fold-channel-arithmetic",
      "fold-batch-norm",
      "remove-dead-nodes",
    );
    expect(operators(clean)).toEqual([
      ...["Conv", "Relu", "Conv", "Add", "Relu", "Mul", "MaxPool", "ConvTranspose"],
      ...["GlobalAveragePool", "Flatten", "Gemm"],
    ]);
    expect(clean.graph.initializers.has("forgotten")).toBe(false);
  });
});

describe("fold-batch-norm", () => {
  const norm = (input: string, output: string) =>
    node("BatchNormalization", [input, "g", "b", "m", "v"], [output]);
  const parameters = { g: [4], b: [4], m: [4], v: [4] };

  it("leaves a convolution that something else reads too", async () => {
    const model = convThen([norm("c", "n"), node("Add", ["n", "c"], ["y"])], parameters);
    expect(operators(await apply(model, "fold-batch-norm"))).toContain("BatchNormalization");
  });

  it("leaves a convolution whose output the graph yields", async () => {
    const model = convThen([norm("c", "y")], parameters, ["y", "c"]);
    expect(operators(await apply(model, "fold-batch-norm"))).toContain("BatchNormalization");
  });

  it("copies a weight that two convolutions share", async () => {
    const model = convThen(
      [norm("c", "n"), node("Conv", ["x", "w"], ["d"]), node("Add", ["n", "d"], ["y"])],
      parameters,
    );
    const folded = await apply(model, "fold-batch-norm");
    expect(operators(folded)).not.toContain("BatchNormalization");
    await expectSameOutputs(model, folded);
  });
});

describe("fold-channel-arithmetic", () => {
  const cases: readonly (readonly [string, string, readonly number[], boolean])[] = [
    ["Add", "[C,1,1]", [4, 1, 1], true],
    ["Add", "[1,C,1,1]", [1, 4, 1, 1], true],
    ["Mul", "[1,C,1,1]", [1, 4, 1, 1], true],
    ["Sub", "[C,1,1]", [4, 1, 1], true],
    ["Mul", "a scalar", [], true],
    ["Add", "[1]", [1], true],
    ["Add", "[4] along the width", [4], false],
    ["Mul", "[1,1,4,1] along the height", [1, 1, 4, 1], false],
    ["Add", "[2,1,1,1] along the batch", [2, 1, 1, 1], false],
    ["Add", "[1,1,1,1,1], which adds a dim", [1, 1, 1, 1, 1], false],
  ];

  it.each(cases)("%s of %s %s", async (opType, _shape, shape, isFolded) => {
    const model = convThen([node(opType, ["c", "k"], ["y"])], { k: shape });
    const folded = await apply(model, "fold-channel-arithmetic");
    expect(operators(folded)).toEqual(isFolded ? ["Conv"] : ["Conv", opType]);
    await expectSameOutputs(model, folded);
  });

  it("takes the constant from either side, but not a constant minus the value", async () => {
    const added = convThen([node("Add", ["k", "c"], ["y"])], { k: [4, 1, 1] });
    const folded = await apply(added, "fold-channel-arithmetic");
    expect(operators(folded)).toEqual(["Conv"]);
    await expectSameOutputs(added, folded);
    const subtracted = convThen([node("Sub", ["k", "c"], ["y"])], { k: [4, 1, 1] });
    expect(operators(await apply(subtracted, "fold-channel-arithmetic"))).toEqual(["Conv", "Sub"]);
  });
});

describe("remove-identity", () => {
  it("keeps a node between a graph input and a graph output", async () => {
    const model = buildModel({
      opset: 13,
      inputShape: [2],
      nodes: [node("Identity", ["x"], ["y"])],
    });
    expect(operators(await apply(model, "remove-identity"))).toEqual(["Identity"]);
  });

  it("keeps the names of outputs", async () => {
    const model = convThen([node("Identity", ["c"], ["i"]), node("Identity", ["i"], ["y"])]);
    const clean = await apply(model, "remove-identity");
    expect(operators(clean)).toEqual(["Conv"]);
    expect(clean.graph.producerOf("y")?.opType).toBe("Conv");
  });

  it("keeps a Dropout whose mask is read, and one in training mode", async () => {
    const masked = convThen([
      node("Dropout", ["c"], ["d", "mask"]),
      node("Cast", ["mask"], ["m"], { to: { int: 1 } }),
      node("Add", ["d", "m"], ["y"]),
    ]);
    expect(operators(await apply(masked, "remove-identity"))).toContain("Dropout");
    const training = convThen([node("Dropout", ["c", "", "on"], ["y"])]);
    training.graph.setInitializer(
      makeTensor({ name: "on", type: "bool", shape: [], data: Uint8Array.of(1) }),
    );
    expect(operators(await apply(training, "remove-identity"))).toContain("Dropout");
  });

  it("removes a Cast to the type that is there, and no other", async () => {
    const model = convThen([
      node("Cast", ["c"], ["same"], { to: { int: 1 } }),
      node("Cast", ["same"], ["other"], { to: { int: 7 } }),
      node("Cast", ["other"], ["y"], { to: { int: 1 } }),
    ]);
    expect(operators(await apply(model, "remove-identity"))).toEqual(["Conv", "Cast", "Cast"]);
  });
});

describe("remove-identity of arithmetic", () => {
  it.each([
    ["Mul", [1], true],
    ["Div", [1], true],
    ["Add", [0], true],
    ["Sub", [0], true],
    ["Mul", [0], false],
    ["Add", [1], false],
    ["Mul", [1, 1], false],
  ] as const)("%s of %j", async (opType, values, isRemoved) => {
    const model = convThen([node(opType, ["c", "k"], ["m"]), node("Relu", ["m"], ["y"])]);
    const shape = values.length === 1 ? [1] : [1, 1, 1, 1, 1];
    model.graph.setInitializer(floatTensor("k", shape, [values[0]]));
    const clean = await apply(model, "remove-identity");
    expect(operators(clean)).toEqual(isRemoved ? ["Conv", "Relu"] : ["Conv", opType, "Relu"]);
  });

  it("takes the constant from the left of Mul and Add alone", async () => {
    for (const [opType, value, count] of [
      ["Mul", 1, 2],
      ["Add", 0, 2],
      ["Div", 1, 3],
      ["Sub", 0, 3],
    ] as const) {
      const model = convThen([node(opType, ["k", "c"], ["m"]), node("Relu", ["m"], ["y"])]);
      model.graph.setInitializer(floatTensor("k", [], [value]));
      expect(operators(await apply(model, "remove-identity"))).toHaveLength(count);
    }
  });
});

describe("fold-into-next", () => {
  const arithmetic = (opType: string, value: string, output: string) =>
    node(opType, [value, "k"], [output]);
  const constants = [
    floatTensor("k", [1], [0.3]),
    floatTensor("t", [], [-0.8]),
    floatTensor("none", [], [0]),
    floatTensor("v", [2, 4, 3, 3], randomValues(3, 72)),
    floatTensor("vb", [2], randomValues(4, 2)),
    floatTensor("vt", [4, 2, 3, 3], randomValues(5, 72)),
  ];
  const padded = { pads: { ints: [1, 1, 1, 1] } };
  const net = (nodes: Parameters<typeof convThen>[0], outputs?: readonly string[]): Model => {
    const model = convThen([node("Relu", ["c"], ["r"]), ...nodes], {}, outputs);
    for (const tensor of constants) model.graph.setInitializer(tensor);
    return model;
  };

  it.each([
    [
      "a factor, padded or not",
      [arithmetic("Mul", "r", "m"), node("Conv", ["m", "v", "vb"], ["y"], padded)],
      ["Conv", "Relu", "Conv"],
    ],
    [
      "a divisor before a transposed convolution",
      [arithmetic("Div", "r", "m"), node("ConvTranspose", ["m", "vt"], ["y"])],
      ["Conv", "Relu", "ConvTranspose"],
    ],
    [
      "an offset without padding",
      [arithmetic("Add", "r", "m"), node("Conv", ["m", "v", "vb"], ["y"])],
      ["Conv", "Relu", "Conv"],
    ],
    [
      "an offset with SAME padding, which stays",
      [
        arithmetic("Add", "r", "m"),
        node("Conv", ["m", "v"], ["y"], { auto_pad: { string: "SAME_UPPER" } }),
      ],
      ["Conv", "Relu", "Add", "Conv"],
    ],
    [
      "an offset before a transposed convolution, which stays",
      [arithmetic("Add", "r", "m"), node("ConvTranspose", ["m", "vt"], ["y"])],
      ["Conv", "Relu", "Add", "ConvTranspose"],
    ],
    [
      "factor and offset without padding, a bias made for them",
      [
        arithmetic("Mul", "r", "m"),
        node("Sub", ["m", "t"], ["s"]),
        node("Conv", ["s", "v"], ["y"]),
      ],
      ["Conv", "Relu", "Conv"],
    ],
    [
      "a factor from behind an offset that stays",
      [
        arithmetic("Mul", "r", "m"),
        node("Add", ["t", "m"], ["s"]),
        node("Conv", ["s", "v"], ["y"], padded),
      ],
      ["Conv", "Relu", "Add", "Conv"],
    ],
    [
      "a factor of two convolutions that share a weight",
      [
        arithmetic("Mul", "r", "m"),
        node("Conv", ["m", "v"], ["p"], padded),
        node("Conv", ["m", "v", "vb"], ["q"], padded),
        node("Conv", ["r", "v", "vb"], ["o"], padded),
        node("Sum", ["p", "q", "o"], ["y"]),
      ],
      ["Conv", "Relu", "Conv", "Conv", "Conv", "Sum"],
    ],
    [
      "a factor that something else reads too, which stays",
      [
        arithmetic("Mul", "r", "m"),
        node("Conv", ["m", "v"], ["p"], padded),
        node("ReduceMean", ["m"], ["q"]),
        node("Add", ["p", "q"], ["y"]),
      ],
      ["Conv", "Relu", "Mul", "Conv", "ReduceMean", "Add"],
    ],
    [
      "a factor that more than the offset behind it reads, which stays",
      [
        arithmetic("Mul", "r", "m"),
        node("Add", ["t", "m"], ["s"]),
        node("Conv", ["s", "v"], ["p"], padded),
        node("ReduceMean", ["m"], ["q"]),
        node("Add", ["p", "q"], ["y"]),
      ],
      ["Conv", "Relu", "Mul", "Add", "Conv", "ReduceMean", "Add"],
    ],
    [
      "division by zero, which stays",
      [node("Div", ["r", "none"], ["m"]), node("Conv", ["m", "v"], ["y"])],
      ["Conv", "Relu", "Div", "Conv"],
    ],
  ] as const)("%s", async (_name, nodes, wanted) => {
    const model = net(nodes);
    const folded = await apply(model, "fold-into-next");
    expect(operators(folded)).toEqual(wanted);
    if (!wanted.includes("Div" as never)) await expectSameOutputs(model, folded);
  });

  it("leaves a value that the graph yields", async () => {
    const model = net([arithmetic("Mul", "r", "m"), node("Conv", ["m", "v"], ["y"])], ["y", "m"]);
    expect(operators(await apply(model, "fold-into-next"))).toContain("Mul");
  });
});

describe("remove-dead-nodes", () => {
  it("keeps what only a branch reads", async () => {
    const branch = makeGraph({
      nodes: [makeNode({ opType: "Neg", inputs: ["r"], outputs: ["b"] })],
      inputs: [],
      outputs: [makeValueInfo("b", "float32")],
    });
    const model = convThen([
      node("Relu", ["c"], ["r"]),
      node("If", ["on"], ["y"], { then_branch: { graph: branch }, else_branch: { graph: branch } }),
      node("Neg", ["c"], ["dead"]),
    ]);
    model.graph.setInitializer(
      makeTensor({ name: "on", type: "bool", shape: [], data: Uint8Array.of(1) }),
    );
    const clean = await apply(model, "remove-dead-nodes");
    expect(operators(clean)).toEqual(["Conv", "Relu", "If"]);
  });
});

describe("constants-to-initializers", () => {
  it("leaves a constant that the graph yields", async () => {
    const value = { tensor: floatTensor("", [1], [2]) };
    const model = convThen([node("Constant", [], ["y"], { value })], {}, ["c", "y"]);
    const clean = await apply(model, "constants-to-initializers");
    expect(operators(clean)).toContain("Constant");
  });

  it("frees weights from being inputs", async () => {
    const model = convThen([node("Relu", ["c"], ["y"])]);
    model.graph.setInputInfos([...model.graph.inputs, makeValueInfo("w", "float32", [4, 3, 1, 1])]);
    model.setIrVersion(3);
    const clean = await apply(model, "constants-to-initializers");
    expect(clean.graph.inputNames).toEqual(["x"]);
    expect(clean.irVersion).toBe(4);
    await expectSameOutputs(model, clean);
  });
});
