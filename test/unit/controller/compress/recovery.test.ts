/** What rounding by the output and bias correction bring to a whole quantized net. */
import { describe, expect, it } from "vitest";
import { prefixModel } from "../../../../controller/compress/calibration/prefix-model.ts";
import { tapModel } from "../../../../controller/compress/calibration/tap-model.ts";
import { auditFusion } from "../../../../controller/compress/fusion-audit.ts";
import { runPasses } from "../../../../controller/compress/pass-manager.ts";
import { findPass } from "../../../../controller/compress/passes/registry.ts";
import type { Model } from "../../../../controller/onnx/model.ts";
import { floatTensor, tensorFloats, tensorNumbers } from "../../../../controller/onnx/tensor.ts";
import { randomValues } from "../onnx/sample-models.ts";
import { loadModel, optimizedBytes, signalToNoise, workbenchOf } from "./run-model.ts";
import { buildModel, feedsOf, node } from "./sample-nets.ts";

const shape = [1, 4, 10, 10];
const feeds = feedsOf(shape);
const calibrationSeeds = Array.from({ length: 24 }, (_, at) => at + 1);
const checkSeeds = Array.from({ length: 16 }, (_, at) => at + 1001);

const weight = (name: string, dims: readonly number[], seed: number) => {
  const count = dims.reduce((all, dim) => all * dim, 1);
  const values = randomValues(seed, count, 0.3);
  // Channels of unlike size, which one scale for all of them serves badly.
  return floatTensor(
    name,
    dims,
    values.map((value, at) => value * (at < count / 4 ? 12 : 1)),
  );
};

/** Convolutions with and without a bias, a residual sum, a depthwise one, a Gemm. */
function net(): Model {
  const pads = { pads: { ints: [1, 1, 1, 1] } };
  return buildModel({
    opset: 13,
    inputShape: shape,
    nodes: [
      node("Conv", ["x", "w1", "b1"], ["c1"], pads),
      node("Relu", ["c1"], ["r1"]),
      node("Conv", ["r1", "w2"], ["c2"], { ...pads, group: { int: 8 } }),
      node("Relu", ["c2"], ["r2"]),
      node("Conv", ["r2", "w3"], ["c3"]),
      node("Add", ["c3", "r1"], ["sum"]),
      node("Relu", ["sum"], ["r3"]),
      node("GlobalAveragePool", ["r3"], ["g"]),
      node("Flatten", ["g"], ["f"]),
      node("Gemm", ["f", "w4", "b4"], ["y"], { transB: { int: 1 } }),
    ],
    initializers: [
      weight("w1", [8, 4, 3, 3], 1),
      weight("b1", [8], 2),
      weight("w2", [8, 1, 3, 3], 3),
      weight("w3", [8, 8, 1, 1], 4),
      weight("w4", [6, 8], 5),
      weight("b4", [6], 6),
    ],
  });
}

async function quantized(options: Record<string, unknown>, model = net()) {
  return runPasses({
    model,
    passes: [findPass("quantize-static")!.bind({ reduceRange: true, ...options })],
    workbench: workbenchOf(() => calibrationSeeds.map(feeds)),
  });
}

/** Signal-to-noise ratio of the output over samples that calibration has not seen. */
async function quality(model: Model): Promise<number> {
  const [before, after] = [await loadModel(net().encode()), await loadModel(model.encode())];
  const [expected, actual]: [number[], number[]] = [[], []];
  for (const seed of checkSeeds) {
    expected.push(...((await before.run(feeds(seed))).get("y")!.data as Float32Array));
    actual.push(...((await after.run(feeds(seed))).get("y")!.data as Float32Array));
  }
  await before.close();
  await after.close();
  return signalToNoise(Float32Array.from(expected), Float32Array.from(actual));
}

/** Sum over channels of the squared mean difference between a float value and a quantized one. */
async function meanErrors(model: Model, float: string, value: string): Promise<number> {
  const before = await loadModel(tapModel(net(), [float]).encode(), "basic");
  const after = await loadModel(tapModel(model, [value]).encode(), "basic");
  const errors = new Float64Array(8);
  for (const seed of calibrationSeeds) {
    const wanted = (await before.run(feeds(seed))).get(float)!.data as Float32Array;
    const got = (await after.run(feeds(seed))).get(value)!.data as Float32Array;
    const inner = wanted.length / 8;
    wanted.forEach((each, at) => {
      errors[Math.floor(at / inner)]! += (each - got[at]!) / inner / calibrationSeeds.length;
    });
  }
  await before.close();
  await after.close();
  return errors.reduce((sum, error) => sum + error ** 2, 0);
}

/** The net with one bias in all channels of its first layer, and one of 20 in those of its last. */
function biased(first: number): Model {
  const model = net();
  model.graph.setInitializer(floatTensor("b1", [8], new Float32Array(8).fill(first)));
  model.graph.setInitializer(floatTensor("b4", [6], new Float32Array(6).fill(20)));
  return model;
}

/** The mean over samples of a value of a float net. */
async function meanOf(model: Model, name: string): Promise<Float64Array> {
  const loaded = await loadModel(tapModel(model, [name]).encode(), "basic");
  const values: Float32Array[] = [];
  for (const seed of calibrationSeeds) {
    values.push((await loaded.run(feeds(seed))).get(name)!.data as Float32Array);
  }
  await loaded.close();
  return Float64Array.from(
    values[0]!,
    (_, at) => values.reduce((sum, each) => sum + each[at]!, 0) / values.length,
  );
}

/** What the codes of the Gemm's weight and bias stand for. */
function gemmConstants({ graph }: Model) {
  const gemm = graph.nodes.find(({ opType }) => opType === "Gemm")!;
  const [weight, bias] = [1, 2].map((index) => {
    const dequantize = graph.producerOf(gemm.input(index))!;
    const codes = tensorNumbers(graph.constant(dequantize.input(0))!);
    const scales = tensorFloats(graph.constant(dequantize.input(1))!);
    const perScale = codes.length / scales.length;
    return codes.map((code, at) => code * scales[Math.floor(at / perScale)]!);
  });
  const biasSteps = tensorFloats(graph.constant(graph.producerOf(gemm.input(2))!.input(1))!);
  return { weight: weight!, bias: bias!, biasSteps };
}

const perTensor = { perChannel: false };

describe("rounding in quantize-static", () => {
  it.each([
    ["error-feedback", { rounding: { strategy: "error-feedback" } }, 1],
    ["adaround", { rounding: { strategy: "adaround", iterations: 300 } }, 1],
  ])("%s is nearer to the float net than nearest", async (_name, options, gain) => {
    const plain = await quality((await quantized(perTensor)).model);
    const { model, journal } = await quantized({ ...perTensor, ...options });
    expect(await quality(model)).toBeGreaterThan(plain + gain);
    expect(journal[0]!.report["roundedToNearest"]).toEqual([]);
    expect((await auditFusion(await optimizedBytes(model.encode()))).floatNodes).toBe(0);
  });

  it("gives the same bytes each time", async () => {
    for (const strategy of ["error-feedback", "adaround"]) {
      const options = { rounding: { strategy }, weightScale: { strategy: "mse" } };
      const once = (await quantized({ ...options, biasCorrection: true })).model.encode();
      expect((await quantized({ ...options, biasCorrection: true })).model.encode()).toEqual(once);
    }
  });

  it("does not go with scales that only nearest rounding keeps below 16 bits", () => {
    const options = { weightScale: { strategy: "pair-aware" } };
    const pass = findPass("quantize-static")!;
    expect(() => pass.bind({ ...options, rounding: { strategy: "error-feedback" } })).toThrow(
      /take nearest/,
    );
    expect(() => pass.bind(options)).not.toThrow();
  });

  it("needs samples, and says so", async () => {
    const pass = findPass("quantize-static")!.bind({ rounding: { strategy: "error-feedback" } });
    await expect(runPasses({ model: net(), passes: [pass] })).rejects.toMatchObject({
      code: "pass-failed",
    });
  });
});

describe("bias correction", () => {
  it("runs no more of a model than it must", () => {
    const { graph } = prefixModel(net(), ["c2"]);
    expect(graph.nodes.map(({ name }) => name)).toEqual(["c1_node", "r1_node", "c2_node"]);
    expect([...graph.initializers.keys()]).toEqual(["w1", "b1", "w2"]);
    expect(graph.outputNames).toEqual(["c2"]);
  });

  it("takes the mean error out of each layer, behind corrected layers", async () => {
    const plain = (await quantized(perTensor)).model;
    const { model, journal } = await quantized({ ...perTensor, biasCorrection: true });
    expect(journal[0]!.report).toMatchObject({ correctedLayers: 4, skippedChannels: 0 });
    // The float net once, and once for each of four levels.
    expect(journal[0]!.report["correctionRuns"]).toBe(5 * calibrationSeeds.length);
    for (const name of ["c1_node", "c2_node", "c3_node"]) {
      const made = (each: Model) => each.graph.nodes.find((one) => one.name === name)!.output(0);
      const before = await meanErrors(plain, made(net()), made(plain));
      const after = await meanErrors(model, made(net()), made(model));
      expect(after).toBeLessThan(before * 0.5);
    }
    expect(await quality(model)).toBeGreaterThan((await quality(plain)) + 1);
    expect((await auditFusion(await optimizedBytes(model.encode()))).floatNodes).toBe(0);
  });

  it("fast, adds what rounding the weights costs on the mean input", async () => {
    const plain = (await quantized({}, biased(1))).model;
    const { model, journal } = await quantized({ biasCorrection: "fast" }, biased(1));
    // The float net on each sample, then all layers once; two of the four have no bias.
    expect(journal[0]!.report).toMatchObject({
      correctedLayers: 2,
      skippedChannels: 0,
      correctionRuns: calibrationSeeds.length + 1,
    });
    const inputs = await meanOf(biased(1), "f");
    const [before, after] = [gemmConstants(plain), gemmConstants(model)];
    const weights = tensorFloats(net().graph.constant("w4")!);
    expect(after.weight).toEqual(before.weight);
    after.bias.forEach((corrected, channel) => {
      const lost = inputs.reduce((sum, input, at) => {
        const place = channel * inputs.length + at;
        return sum + (weights[place]! - before.weight[place]!) * input;
      }, 0);
      // Rounded twice: the bias, and what is added to its codes.
      const step = after.biasSteps[channel]!;
      expect(Math.abs(lost)).toBeGreaterThan(2 * step);
      expect(Math.abs(corrected - 20 - lost)).toBeLessThanOrEqual(step);
    });
  });

  it("fast, leaves a layer alone whose shifts are twice its bias", async () => {
    const { journal } = await quantized({ biasCorrection: "fast" }, biased(0.005));
    expect(journal[0]!.report).toMatchObject({ correctedLayers: 2, skippedChannels: 8 });
  });

  it("leaves a channel alone whose shift is too large to believe", async () => {
    // The range of this input is a sliver of what it takes: the layer behind it is wrong, not biased.
    const { journal } = await quantized({
      ...perTensor,
      calibration: { method: "percentile", percent: 51 },
      biasCorrection: true,
    });
    expect(journal[0]!.report["skippedChannels"]).toBeGreaterThan(0);
  });
});

describe("error feedback in quantize-weights", () => {
  const bound = (options: Record<string, unknown>) =>
    findPass("quantize-weights")!.bind({ bits: 4, convolutionBits: 4, ...options });
  const stored = (options: Record<string, unknown>) =>
    runPasses({
      model: opset21(),
      passes: [bound(options)],
      workbench: workbenchOf(() => calibrationSeeds.map(feeds)),
    });
  const opset21 = () => {
    const model = net();
    model.setOpset("", 21);
    model.setIrVersion(10);
    return model;
  };

  it("is nearer to the float net, with products in blocks and convolutions in channels", async () => {
    for (const options of [{}, { symmetric: false }]) {
      const plain = await stored(options);
      const { model, journal } = await stored({ ...options, rounding: "error-feedback" });
      expect(await quality(model)).toBeGreaterThan((await quality(plain.model)) + 1);
      expect(journal[0]!.report).toMatchObject({ products: 1, stored: 3, roundedToNearest: [] });
    }
  });

  it("needs samples, which rounding to the nearest does not", async () => {
    expect(bound({}).needsSamples).toBe(false);
    const fed = bound({ rounding: "error-feedback" });
    expect(fed.needsSamples).toBe(true);
    await expect(runPasses({ model: opset21(), passes: [fed] })).rejects.toMatchObject({
      code: "calibration-failed",
    });
  });
});
