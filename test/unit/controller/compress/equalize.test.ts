/** Equalization: what the factors are, where they travel and where they stop, and what int8 gains. */
import { describe, expect, it } from "vitest";
import { withRoom } from "../../../../controller/compress/equalize/channel-ranges.ts";
import { narrowRanges } from "../../../../controller/compress/equalize/narrow-ranges.ts";
import type { Workbench } from "../../../../controller/compress/execute.ts";
import { auditFusion } from "../../../../controller/compress/fusion-audit.ts";
import { runPasses } from "../../../../controller/compress/pass-manager.ts";
import { findPass } from "../../../../controller/compress/passes/registry.ts";
import type { Model } from "../../../../controller/onnx/model.ts";
import type { NodeProto, TensorProto } from "../../../../controller/onnx/schema.ts";
import { floatTensor, intTensor, tensorFloats } from "../../../../controller/onnx/tensor.ts";
import { randomValues } from "../onnx/sample-models.ts";
import { type MobileNetOptions, mobileNet, mobileNetShape } from "./mobile-nets.ts";
import { optimizedBytes, runOnce, signalToNoise, workbenchOf } from "./run-model.ts";
import { buildModel, feedsOf, node } from "./sample-nets.ts";

const calibrationSeeds = [1, 2, 3, 4, 5, 6, 7, 8];
const checkSeeds = [21, 22, 23, 24];

const workbenchFor = (shape: readonly number[]): Workbench =>
  workbenchOf(() => calibrationSeeds.map(feedsOf(shape)));

type Step = readonly [name: string, options?: Record<string, unknown>];

async function apply(model: Model, shape: readonly number[], ...steps: readonly Step[]) {
  const passes = steps.map(([name, options]) => findPass(name)!.bind(options));
  return runPasses({ model, passes, workbench: workbenchFor(shape) });
}

async function outputsOf(model: Model, shape: readonly number[]): Promise<Float32Array[]> {
  const bytes = model.encode();
  const outputs: Float32Array[] = [];
  for (const seed of checkSeeds) {
    const answer = await runOnce(bytes, feedsOf(shape)(seed));
    outputs.push([...answer.values()][0]!.data as Float32Array);
  }
  return outputs;
}

async function decibels(before: Model, after: Model, shape: readonly number[]): Promise<number> {
  const [old, now] = [await outputsOf(before, shape), await outputsOf(after, shape)];
  return old.reduce((sum, each, at) => sum + signalToNoise(each, now[at]!), 0) / old.length;
}

/** Outputs of float32 nets that differ by rounding alone. */
const sameDecibels = 90;

function weight(name: string, shape: readonly number[], seed: number, scales?: readonly number[]) {
  const count = shape.reduce((product, dim) => product * dim, 1);
  const perRow = count / shape[0]!;
  const values = randomValues(seed, count, 0.4).map(
    (value, at) => value * (scales?.[Math.floor(at / perRow)] ?? 1),
  );
  return floatTensor(name, shape, values);
}

/** Largest magnitude per row, or with `columns` per column, of a weight [rows, columns · taps]. */
function magnitudes(model: Model, name: string, columns?: number): number[] {
  const tensor = model.graph.constant(name)!;
  const values = tensorFloats(tensor);
  const rows = Number(tensor.dims[0]);
  const perRow = values.length / rows;
  const largest = new Array<number>(columns ?? rows).fill(0);
  values.forEach((value, at) => {
    const column = Math.floor((at % perRow) / (perRow / (columns ?? 1)));
    const slot = columns === undefined ? Math.floor(at / perRow) : column;
    largest[slot] = Math.max(largest[slot]!, Math.abs(value));
  });
  return largest;
}

const imageShape = [1, 3, 8, 8];
const pads = { pads: { ints: [1, 1, 1, 1] } };
const uneven = [0.01, 0.1, 1, 10];

function imageNet(nodes: readonly NodeProto[], initializers: readonly TensorProto[]): Model {
  return buildModel({ opset: 14, inputShape: imageShape, nodes, initializers });
}

const tripleWeights = [
  weight("w1", [4, 3, 3, 3], 1, uneven),
  weight("b1", [4], 2, uneven),
  weight("w2", [4, 1, 3, 3], 3, [3, 0.2, 1, 5]),
  weight("w3", [5, 4, 1, 1], 4),
];

function triple(
  activation: (input: string, output: string) => NodeProto,
  more: TensorProto[] = [],
) {
  return imageNet(
    [
      node("Conv", ["x", "w1", "b1"], ["c1"], pads),
      activation("c1", "a1"),
      node("Conv", ["a1", "w2"], ["c2"], { ...pads, group: { int: 4 } }),
      node("LeakyRelu", ["c2"], ["a2"]),
      node("Conv", ["a2", "w3"], ["y"]),
    ],
    [...tripleWeights, ...more],
  );
}

const relu = (input: string, output: string): NodeProto => node("Relu", [input], [output]);
const byWeights: Step = ["equalize-cross-layer", { ranges: "weights" }];

describe("equalize-cross-layer, by weights", () => {
  it("the depthwise triple ends at the cube root of its three magnitudes", async () => {
    const model = triple(relu);
    const [r1, r2, r3] = [
      magnitudes(model, "w1"),
      magnitudes(model, "w2"),
      magnitudes(model, "w3", 4),
    ];
    const { model: equal } = await apply(model, imageShape, byWeights);
    const after = [magnitudes(equal, "w1"), magnitudes(equal, "w2"), magnitudes(equal, "w3", 4)];
    for (let channel = 0; channel < 4; channel++) {
      const common = Math.cbrt(r1[channel]! * r2[channel]! * r3[channel]!);
      for (const side of after) expect(side[channel]! / common).toBeCloseTo(1, 2);
    }
    expect(await decibels(model, equal, imageShape)).toBeGreaterThan(sameDecibels);
  });

  it("needs no samples, and a second run changes nothing", async () => {
    const pass = findPass("equalize-cross-layer")!.bind({ ranges: "weights" });
    const once = await runPasses({ model: triple(relu), passes: [pass] });
    expect(once.journal[0]!.modified).toBe(true);
    const twice = await runPasses({ model: once.model, passes: [pass] });
    expect(twice.journal[0]!.modified).toBe(false);
  });

  it("leaves a channel without weights as it is", async () => {
    const silent = [...tripleWeights];
    silent[0] = weight("w1", [4, 3, 3, 3], 1, [0, 0.1, 1, 10]);
    const model = triple(relu, silent.slice(0, 1));
    const { model: equal } = await apply(model, imageShape, byWeights);
    for (const name of ["w1", "b1", "w2", "w3"]) {
      expect(tensorFloats(equal.graph.constant(name)!).every(Number.isFinite)).toBe(true);
    }
    expect(await decibels(model, equal, imageShape)).toBeGreaterThan(sameDecibels);
  });

  it("Flatten: each channel's block of columns takes its factor", async () => {
    const model = imageNet(
      [
        node("Conv", ["x", "w1", "b1"], ["c1"], pads),
        relu("c1", "a1"),
        node("MaxPool", ["a1"], ["p"], {
          kernel_shape: { ints: [4, 4] },
          strides: { ints: [4, 4] },
        }),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "w2"], ["y"], { transB: { int: 1 } }),
      ],
      [tripleWeights[0]!, tripleWeights[1]!, weight("w2", [5, 16], 5)],
    );
    const { model: equal } = await apply(model, imageShape, byWeights);
    const [rows, columns] = [magnitudes(equal, "w1"), magnitudes(equal, "w2", 4)];
    rows.forEach((row, channel) => {
      expect(row / columns[channel]!).toBeCloseTo(1, 2);
    });
    expect(await decibels(model, equal, imageShape)).toBeGreaterThan(sameDecibels);
  });
});

describe("where factors travel", () => {
  const branched = (more: readonly NodeProto[], outputs: readonly string[] = ["y"]): Model =>
    buildModel({
      opset: 14,
      inputShape: imageShape,
      outputs,
      nodes: [
        node("Conv", ["x", "w1", "b1"], ["c1"], pads),
        relu("c1", "a1"),
        node("Conv", ["a1", "w2"], ["c2"], pads),
        node("Add", ["c2", "a1"], ["sum"]),
        relu("sum", "a2"),
        node("Conv", ["a2", "w3"], ["y"]),
        ...more,
      ],
      initializers: [
        tripleWeights[0]!,
        tripleWeights[1]!,
        weight("w2", [4, 4, 3, 3], 6, uneven),
        tripleWeights[3]!,
        intTensor("sizes", [1, 2, 2, 8, 8]),
      ],
    });

  it("a residual branch: all makers and readers take part", async () => {
    const model = branched([]);
    const { model: equal, journal } = await apply(model, imageShape, byWeights);
    expect(journal[0]!.report).toMatchObject({ parts: 1, scaledParts: 1, scaledNodes: 3 });
    expect(await decibels(model, equal, imageShape)).toBeGreaterThan(sameDecibels);
  });

  it.each([
    ["an operator that nothing is known of", [node("Softmax", ["a2"], ["z"])], ["y", "z"]],
    ["a graph output", [], ["y", "a1"]],
    ["a Reshape across channels", [node("Reshape", ["a2", "sizes"], ["z"])], ["y", "z"]],
  ] as const)("%s stops them", async (_name, more, outputs) => {
    const { journal } = await apply(branched(more, outputs), imageShape, byWeights);
    expect(journal[0]!.modified).toBe(false);
  });

  it("a weight that two nodes read is copied", async () => {
    const model = imageNet(
      [
        node("Conv", ["x", "w1", "b1"], ["c1"], pads),
        relu("c1", "a1"),
        node("Conv", ["a1", "w3"], ["c2"]),
        relu("c2", "a2"),
        node("Conv", ["a2", "w4"], ["c3"]),
        node("Conv", ["c3", "w3"], ["y"]),
      ],
      [...tripleWeights, weight("w4", [4, 5, 1, 1], 7)],
    );
    const { model: equal } = await apply(model, imageShape, byWeights);
    expect(await decibels(model, equal, imageShape)).toBeGreaterThan(sameDecibels);
  });
});

describe("Relu6", () => {
  const clip = (input: string, output: string): NodeProto =>
    node("Clip", [input, "zero", "bound"], [output]);
  const clipped = (bound: number): Model =>
    triple(clip, [floatTensor("zero", [], [0]), floatTensor("bound", [], [bound])]);
  const replacing = findPass("equalize-cross-layer")!.bind({ replaceClip: true });
  const heldOut = () => checkSeeds.map(feedsOf(imageShape));
  const calibration = () => calibrationSeeds.map(feedsOf(imageShape));

  it("lets no factor pass by default", async () => {
    const { model } = await apply(clipped(6), imageShape, byWeights);
    expect(model.graph.producerOf("a1")!.opType).toBe("Clip");
    expect(tensorFloats(model.graph.constant("w1")!)).toEqual(tensorFloats(tripleWeights[0]!));
  });

  it("becomes Relu where held-out samples never reach the bound", async () => {
    const model = clipped(1e6);
    const workbench = workbenchOf(calibration, heldOut);
    const { model: equal, journal } = await runPasses({ model, passes: [replacing], workbench });
    expect(journal[0]!.report).toMatchObject({ replacedClips: 1 });
    expect(equal.graph.producerOf("a1")!.opType).toBe("Relu");
    expect(await decibels(model, equal, imageShape)).toBeGreaterThan(sameDecibels);
  });

  it("stays where answers would change", async () => {
    const workbench = workbenchOf(calibration, heldOut);
    const { journal } = await runPasses({ model: clipped(1), passes: [replacing], workbench });
    expect(journal[0]!.report).toMatchObject({ replacedClips: 0 });
  });

  it("goes by the judge where there is one", async () => {
    const judge = { losses: () => Float64Array.of(0) };
    const workbench = { ...workbenchOf(calibration, heldOut), judge };
    const { journal } = await runPasses({ model: clipped(1), passes: [replacing], workbench });
    expect(journal[0]!.report).toMatchObject({ replacedClips: 1 });
  });

  it("says that it needs held-out samples", async () => {
    const workbench = workbenchOf(calibration);
    const run = runPasses({ model: clipped(6), passes: [replacing], workbench });
    await expect(run).rejects.toMatchObject({ code: "pass-failed" });
  });
});

describe("what int8 gains on nets whose channels differ by powers of ten", () => {
  const gates: Step = ["equalize-gates"];
  const crossLayer: Step = ["equalize-cross-layer"];
  const quantize = (options: Record<string, unknown> = {}): Step => [
    "quantize-static",
    { reduceRange: true, ...options },
  ];
  const gains = async (net: MobileNetOptions, steps: readonly Step[], more: Step) => {
    const model = mobileNet(net);
    const plain = await apply(model, mobileNetShape, quantize());
    const recovered = await apply(model, mobileNetShape, ...steps, more);
    return {
      before: await decibels(model, plain.model, mobileNetShape),
      after: await decibels(model, recovered.model, mobileNetShape),
      audit: auditFusion(await optimizedBytes(recovered.model.encode())),
    };
  };

  it.each([
    ["SiLU", { activation: "silu", spread: 1.2, seed: 1 }, 12],
    ["SiLU, other weights", { activation: "silu", spread: 1.2, seed: 2 }, 12],
    [
      "HardSwish and squeeze-excite",
      { activation: "hard-swish", squeezeExcite: true, spread: 1.2, seed: 1 },
      18,
    ],
    [
      "HardSwish, other weights",
      { activation: "hard-swish", squeezeExcite: true, spread: 1.2, seed: 2 },
      18,
    ],
  ] as const)("%s: 8 dB at least, every layer still integer", async (_name, net, layers) => {
    const cut = quantize({ cutGateTails: true });
    const { before, after, audit } = await gains(net, [gates, crossLayer], cut);
    expect(after).toBeGreaterThan(before + 8);
    expect(audit).toMatchObject({ integerNodes: layers, floatNodes: 0 });
  });

  it("Relu: cross-layer by activations, 8 dB at least", async () => {
    const net = { activation: "relu", spread: 1.2, seed: 1 } as const;
    const { before, after } = await gains(net, [crossLayer], quantize());
    expect(after).toBeGreaterThan(before + 8);
  });

  it("Relu with one scale per weight: cross-layer by weights, 15 dB at least", async () => {
    const model = mobileNet({ activation: "relu", spread: 1.2, seed: 2 });
    const perTensor = quantize({ perChannel: false });
    const plain = await apply(model, mobileNetShape, perTensor);
    const recovered = await apply(model, mobileNetShape, byWeights, perTensor);
    const before = await decibels(model, plain.model, mobileNetShape);
    expect(await decibels(model, recovered.model, mobileNetShape)).toBeGreaterThan(before + 15);
  });
});

describe("gates", () => {
  const net = mobileNet({ activation: "silu", spread: 1.2, seed: 1 });

  it("factors are multiples that one 8-bit scale stores without rounding", async () => {
    const { model, journal } = await apply(net, mobileNetShape, ["equalize-gates"]);
    const names = [...model.graph.initializers.keys()].filter((name) => name.endsWith("_factors"));
    expect(names.length).toBeGreaterThan(3);
    expect(journal[0]!.report["addedNodes"]).toBe(names.length);
    for (const name of names) {
      const factors = tensorFloats(model.graph.constant(name)!);
      const step = factors.reduce((one, other) => Math.max(one, other)) / 255;
      for (const factor of factors) {
        expect(factor / step).toBeGreaterThan(0.99);
        expect(Math.abs(factor / step - Math.round(factor / step))).toBeLessThan(1e-4);
      }
    }
  });

  it("channels that are even already stay as they are", async () => {
    const even = mobileNet({ activation: "silu", spread: 0, seed: 1 });
    const { journal } = await apply(even, mobileNetShape, ["equalize-cross-layer"]);
    expect(journal[0]!.modified).toBe(false);
  });

  it("ranges end where the gate is flat, and only where nothing else reads the value", async () => {
    const gated = (outputs: readonly string[]): Model =>
      buildModel({
        opset: 14,
        inputShape: imageShape,
        outputs,
        nodes: [
          node("Conv", ["x", "w1"], ["c1"], pads),
          node("HardSwish", ["c1"], ["h1"]),
          node("Conv", ["h1", "w3"], ["y"]),
        ],
        initializers: [weight("w1", [4, 3, 3, 3], 1, [5, 5, 5, 5]), tripleWeights[3]!],
      });
    const context = { ranges: new Map(), workbench: workbenchFor(imageShape) };
    const wide = new Map([["c1", { min: -40, max: 40 }]]);
    const cut = await narrowRanges(context, gated(["y"]), wide);
    expect(cut.get("c1")!.max).toBe(40);
    expect(cut.get("c1")!.min).toBeLessThanOrEqual(-2.9);
    expect(cut.get("c1")!.min).toBeGreaterThan(-3.2);
    const shared = await narrowRanges(context, gated(["y", "c1"]), wide);
    expect(shared.get("c1")).toEqual({ min: -40, max: 40 });
  });

  it("a channel that was silent on the samples may take the whole range", () => {
    const zeros = new Float64Array(3);
    const ranges = {
      min: Float64Array.of(-1, 0, 0),
      max: Float64Array.of(4, 0, 2),
      mean: zeros,
      meanSquare: zeros,
    };
    const { min, max } = withRoom(ranges);
    expect([...min]).toEqual([-1, -1, 0]);
    expect([...max]).toEqual([4, 4, 2]);
  });
});

describe("smooth-quant", () => {
  const shape = [2, 6, 16];
  const gamma = Float32Array.from({ length: 16 }, (_, at) => (at === 3 ? 40 : at === 9 ? 15 : 1));
  /** Outliers matter no more than the rest: the weights that read them are small. */
  const inverse = Array.from(gamma, (scale) => 1 / scale);
  const layer = (outputs: readonly string[]): Model =>
    buildModel({
      opset: 17,
      inputShape: ["n", 6, 16],
      outputs,
      nodes: [
        node("LayerNormalization", ["x", "gamma", "beta"], ["normal"]),
        node("MatMul", ["normal", "wq"], ["q"]),
        node("MatMul", ["normal", "wk"], ["k"]),
        node("Add", ["q", "k"], ["y"]),
      ],
      initializers: [
        floatTensor("gamma", [16], gamma),
        weight("beta", [16], 1),
        weight("wq", [16, 16], 2, inverse),
        weight("wk", [16, 16], 3, inverse),
      ],
    });

  it("outliers of a normalisation go into the weights of all that read it", async () => {
    const model = layer(["y"]);
    const smooth = await apply(model, shape, ["smooth-quant"]);
    expect(smooth.journal[0]!.report).toMatchObject({ scaledParts: 1, scaledNodes: 4 });
    expect(await decibels(model, smooth.model, shape)).toBeGreaterThan(sameDecibels);
    const scales = tensorFloats(smooth.model.graph.constant("gamma")!);
    expect(scales[3]! / scales[0]!).toBeLessThan(gamma[3]! / 2);
    const quantize: Step = ["quantize-static", { reduceRange: true }];
    const [plain, better] = [
      await apply(model, shape, quantize),
      await apply(smooth.model, shape, quantize),
    ];
    expect(await decibels(model, better.model, shape)).toBeGreaterThan(
      (await decibels(model, plain.model, shape)) + 3,
    );
  });

  it("is left where the value is read by something else too", async () => {
    const { journal } = await apply(layer(["y", "normal"]), shape, ["smooth-quant"]);
    expect(journal[0]!.modified).toBe(false);
  });
});

describe("bad input", () => {
  const pass = findPass("equalize-gates")!.bind({});
  const model = mobileNet({ activation: "silu", spread: 1, seed: 1 });

  it("no workbench", async () => {
    await expect(runPasses({ model, passes: [pass] })).rejects.toMatchObject({
      code: "pass-failed",
    });
  });

  it("no samples", async () => {
    const run = runPasses({ model, passes: [pass], workbench: workbenchOf(() => []) });
    await expect(run).rejects.toMatchObject({ code: "calibration-failed" });
  });

  it("samples that are no numbers", async () => {
    const feeds = feedsOf(mobileNetShape)(1);
    (feeds.get("x")!.data as Float32Array).fill(Number.NaN);
    const run = runPasses({ model, passes: [pass], workbench: workbenchOf(() => [feeds]) });
    await expect(run).rejects.toMatchObject({ code: "calibration-failed" });
  });

  it("a net of constant channels", async () => {
    const zeros = (shape: readonly number[]) => {
      const count = shape.reduce((product, dim) => product * dim, 1);
      return floatTensor("w1", shape, new Float32Array(count));
    };
    const silent = triple(relu, [zeros([4, 3, 3, 3])]);
    const { model: equal } = await apply(silent, imageShape, ["equalize-cross-layer"]);
    for (const output of await outputsOf(equal, imageShape)) {
      expect(output.every(Number.isFinite)).toBe(true);
    }
  });
});
