/** Where x86 without VNNI may lose products: foretold from weights alone, and never missed. */
import { describe, expect, it } from "vitest";
import { emulate } from "../../../../controller/compress/emulate/emulate.ts";
import { saturationRisks } from "../../../../controller/compress/emulate/saturation.ts";
import type { TensorValue } from "../../../../controller/compress/execute.ts";
import { runPasses } from "../../../../controller/compress/pass-manager.ts";
import { findPass } from "../../../../controller/compress/passes/registry.ts";
import type { Model } from "../../../../controller/onnx/model.ts";
import { floatTensor, tensorFloats } from "../../../../controller/onnx/tensor.ts";
import { type EmulatedNet, emulatedNets } from "./emulated-nets.ts";
import { floats, loadModel, workbenchOf } from "./run-model.ts";
import { buildModel, feedsOf, node } from "./sample-nets.ts";

async function quantized(
  { model, feeds }: Pick<EmulatedNet, "model" | "feeds">,
  options: Record<string, unknown> = {},
): Promise<Model> {
  const result = await runPasses({
    model: model(),
    passes: [findPass("quantize-static")!.bind(options)],
    workbench: workbenchOf(() => [1, 2, 3].map(feeds)),
  });
  return result.model;
}

async function outputOf(
  model: Model,
  processor: "vnni" | "avx2",
  feeds: ReadonlyMap<string, TensorValue>,
): Promise<TensorValue> {
  const emulation = emulate(model, { processor, load: loadModel });
  const outputs = await emulation.run(feeds);
  await emulation.close();
  return outputs.get("y")!;
}

const pairAware = { weightScale: { strategy: "pair-aware" } };

/** A product of 4 inputs with 3 columns of weights, all of the same scale. */
const columns = {
  feeds: feedsOf([1, 4]),
  model: () =>
    buildModel({
      opset: 13,
      inputShape: [1, 4],
      nodes: [node("MatMul", ["x", "w"], ["y"])],
      initializers: [
        floatTensor("w", [4, 3], [127, 127, 64, 127, -127, 64, 1, 127, 64, 1, 1, 127]),
      ],
    }),
};

describe("pairs at risk", () => {
  it("are told for each layer and channel", async () => {
    const model = await quantized(columns, { perChannel: false });
    const risk = { layer: "y_node", channels: 3, channelsAtRisk: 2, pairs: 6, pairsAtRisk: 2 };
    // Column 0 pairs 127 with 127; column 2 pairs 64 with 127, of its other pair 64 + 64 fits.
    expect(saturationRisks(model)).toEqual([risk]);
  });

  it("are in the report of the pass that wrote them", async () => {
    const reportOf = async (options: Record<string, unknown>) => {
      const { journal } = await runPasses({
        model: columns.model(),
        passes: [findPass("quantize-static")!.bind({ perChannel: false, ...options })],
        workbench: workbenchOf(() => [1, 2, 3].map(columns.feeds)),
      });
      return journal[0]!.report;
    };
    expect(await reportOf({})).toMatchObject({
      pairsAtRisk: 2,
      mayLoseWithoutVnni: ["y_node: 2 of 6 pairs, 2 of 3 channels"],
    });
    expect(await reportOf(pairAware)).toMatchObject({ pairsAtRisk: 0, mayLoseWithoutVnni: [] });
  });

  it("are fewer where the input's codes stay low", async () => {
    const model = await quantized(columns, { perChannel: false });
    const below = (codeMax: number) => saturationRisks(model, new Map([["x_q", codeMax]]))[0]!;
    expect(below(171).pairsAtRisk).toBe(1);
    expect(below(129).pairsAtRisk).toBe(0);
  });

  it("are none with weights of seven bits, with uint8 weights, and in depthwise convolutions", async () => {
    const atRisk = async (net: EmulatedNet, options: Record<string, unknown>): Promise<number> =>
      saturationRisks(await quantized(net, options)).reduce(
        (sum, { pairsAtRisk }) => sum + pairsAtRisk,
        0,
      );
    const [conv] = emulatedNets;
    const depthwise = emulatedNets.find(({ name }) => name === "depthwise conv")!;
    expect(await atRisk(conv!, {})).toBeGreaterThan(0);
    expect(await atRisk(conv!, { activations: "int8" })).toBeGreaterThan(0);
    expect(await atRisk(conv!, { reduceRange: true })).toBe(0);
    expect(await atRisk(conv!, { weights: "uint8" })).toBe(0);
    expect(await atRisk(depthwise, {})).toBe(0);
  });
});

describe("pair-aware scales", () => {
  it.each([{}, { perChannel: false }, { activations: "int8" }])(
    "leave no pair at risk in any form of layer, and more bits than seven: %o",
    async (scheme) => {
      let raised = 0;
      for (const net of emulatedNets) {
        const model = await quantized(net, { ...scheme, ...pairAware });
        const atRisk = saturationRisks(model).filter(({ pairsAtRisk }) => pairsAtRisk > 0);
        expect(atRisk, net.name).toEqual([]);
        const before = saturationRisks(await quantized(net, scheme));
        if (before.some(({ pairsAtRisk }) => pairsAtRisk > 0)) raised++;
      }
      expect(raised).toBeGreaterThan(10);
    },
  );

  it("change only the channels that were at risk", async () => {
    const scalesOf = async (options: Record<string, unknown>): Promise<number[]> => {
      const { graph } = await quantized(columns, options);
      const weight = graph.nodes.find((each) => each.input(0) === "w_q")!;
      return [...tensorFloats(graph.constant(weight.input(1))!)];
    };
    const [first, second, third] = await scalesOf(pairAware);
    const plain = await scalesOf({});
    expect(first).toBe(Math.fround(254 / 128));
    expect(second).toBe(plain[1]);
    expect(third).toBe(Math.fround(191 / 128));
  });

  it("leave uint8 weights and depthwise convolutions as they are", async () => {
    const bytesOf = async (net: EmulatedNet, options: Record<string, unknown>) =>
      (await quantized(net, options)).encode();
    const [conv] = emulatedNets;
    const depthwise = emulatedNets.find(({ name }) => name === "depthwise conv")!;
    const wide = { weights: "uint8" };
    expect(await bytesOf(conv!, { ...wide, ...pairAware })).toEqual(await bytesOf(conv!, wide));
    expect(await bytesOf(depthwise, pairAware)).toEqual(await bytesOf(depthwise, {}));
  });
});

describe("a model without VNNI", () => {
  it.each([
    ["gives other numbers where a pair is at risk", { perChannel: false }, true],
    ["gives the same where none is", { reduceRange: true, perChannel: false }, false],
  ])("%s", async (_name, options, expected) => {
    const model = await quantized(columns, options);
    // The largest value has code 255.
    const feeds = new Map([["x", floats(new Float32Array(4).fill(1e6), [1, 4])]]);
    const exact = await outputOf(model, "vnni", feeds);
    const saturated = await outputOf(model, "avx2", feeds);
    const differs = exact.data.some((value, at) => value !== saturated.data[at]);
    expect(differs).toBe(expected);
    expect(saturationRisks(model).some(({ pairsAtRisk }) => pairsAtRisk > 0)).toBe(expected);
  });
});
