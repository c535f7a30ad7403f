/** Cost tables: the probes run, the steps are read off, and estimates add up. No time is judged here. */
import { brotliCompressSync, constants } from "node:zlib";
import { encode } from "cborg";
import { describe, expect, it } from "vitest";
import { channelSteps } from "../../../../controller/compress/cost/channel-steps.ts";
import { estimateCost } from "../../../../controller/compress/cost/estimate.ts";
import { foretellTime } from "../../../../controller/compress/cost/foretell.ts";
import { keptShapes, keptShapesSchema } from "../../../../controller/compress/cost/kept-shapes.ts";
import { costProbes } from "../../../../controller/compress/cost/probes.ts";
import { inferShapes } from "../../../../controller/compress/infer-shapes.ts";
import { runPasses } from "../../../../controller/compress/pass-manager.ts";
import { findPass } from "../../../../controller/compress/passes/registry.ts";
import type { Model } from "../../../../controller/onnx/model.ts";
import { floatTensor } from "../../../../controller/onnx/tensor.ts";
import { decodeCostProbes, encodeCostProbes } from "../../../../shared/inference/cost-probes.ts";
import {
  type CostEntry,
  type CostTable,
  costTimesSchema,
} from "../../../../shared/inference/cost-table.ts";
import { timeCostProbes } from "../../../../shared/inference/time-costs.ts";
import { workbenchOf } from "./run-model.ts";
import { buildModel, feedsOf, node } from "./sample-nets.ts";

const entry = (
  operator: CostEntry["operator"],
  type: CostEntry["type"],
  channels: number,
  timeNs: number,
): CostEntry => ({ operator, type, channels, pixels: operator === "gemm" ? 1 : 256, timeNs });

/** One nanosecond per product in float32, a quarter in int8; one per element. */
function madeUpTable(float56Share = 1): CostTable {
  const products = (channels: number): number => 9 * channels * channels * 256;
  const convs = [16, 62, 64].flatMap((channels) => [
    entry("conv-3x3", "float32", channels, products(channels)),
    entry("conv-3x3", "int8", channels, products(channels) * (channels === 62 ? 0.5 : 0.25)),
  ]);
  return {
    entries: [
      ...convs,
      entry("conv-3x3", "float32", 56, products(64) * float56Share),
      ...(["float32", "int8"] as const).flatMap((type) => [
        entry("gemm", type, 64, 64 * 64),
        entry("add", type, 16, 16 * 256),
        entry("depthwise-3x3", type, 16, 9 * 16 * 256),
      ]),
      entry("quantize", "int8", 16, 16 * 256),
    ],
  };
}

describe("the probes of a cost table", () => {
  it("load and run, and make a valid table", async () => {
    const wanted = new Set(["conv-3x3", "conv-1x1", "depthwise-3x3", "gemm", "add", "quantize"]);
    const small = costProbes().filter(({ channels }) => channels <= 16 || channels === 32);
    expect(new Set(small.map(({ operator }) => operator))).toEqual(wanted);
    const packed = decodeCostProbes(encodeCostProbes(small));
    const { table } = costTimesSchema.parse(await timeCostProbes(packed, process.hrtime.bigint));
    expect(table.entries.map(({ operator, type, channels }) => [operator, type, channels])).toEqual(
      small.map(({ operator, type, channels }) => [operator, type, channels]),
    );
    expect(table.entries.some(({ timeNs }) => timeNs > 0)).toBe(true);
  });

  it("are refused when they are something else, or unpack to more than a device can hold", () => {
    const codeOf = (bytes: Uint8Array) => {
      try {
        return [...decodeCostProbes(bytes)].length;
      } catch (error) {
        return (error as { code?: string }).code;
      }
    };
    const file = (packed: Uint8Array) =>
      encode({ schema: "fleetfit/cost-probes/1", probes: [new Uint8Array(packed)] });
    const fast = { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } };
    const bomb = brotliCompressSync(new Uint8Array(64_000_000), fast);
    expect(bomb.byteLength).toBeLessThan(10_000);
    for (const bytes of [new Uint8Array(9), encode({}), file(new Uint8Array(9)), file(bomb)]) {
      expect(codeOf(bytes)).toBe("costs-invalid");
    }
    expect(codeOf(file(brotliCompressSync(encode({ operator: "add" }))))).toBe("costs-invalid");
    expect(codeOf(encodeCostProbes(costProbes().slice(0, 2)))).toBe(2);
  });

  it("hold the sizes from which the steps are read", () => {
    const entries = costProbes().map(({ operator, type, channels, pixels }) => ({
      ...{ operator, type, channels, pixels },
      timeNs: channels,
    }));
    expect(channelSteps({ entries })).toBeDefined();
  });
});

describe("channel steps", () => {
  it("are blocks of 16 floats where 56 channels cost what 64 do, and of 8 where they cost less", () => {
    expect(channelSteps(madeUpTable())).toMatchObject({ float32Multiple: 16, int8Multiple: 4 });
    expect(channelSteps(madeUpTable(0.77))).toMatchObject({ float32Multiple: 8 });
  });

  it("tell what an int8 convolution pays for channels that are no multiple of 4", () => {
    const { int8UnalignedFactor } = channelSteps(madeUpTable())!;
    expect(int8UnalignedFactor).toBeCloseTo((2 * 62 * 62) / (64 * 64));
  });

  it("are not told by a table without the sizes", () => {
    expect(channelSteps({ entries: [] })).toBeUndefined();
  });
});

/** Conv of `channels` to 64 over 8 × 8 pixels, then a sum, then a product to 10. */
function net(channels: number): Model {
  return buildModel({
    opset: 13,
    inputShape: [1, channels, 8, 8],
    nodes: [
      node("Conv", ["x", "w"], ["c"], { pads: { ints: [1, 1, 1, 1] } }),
      node("Relu", ["c"], ["r"]),
      node("Add", ["r", "r"], ["a"]),
      node("GlobalAveragePool", ["a"], ["g"]),
      node("Flatten", ["g"], ["f"]),
      node("Gemm", ["f", "v"], ["m"]),
      node("Tanh", ["m"], ["y"]),
    ],
    initializers: [
      floatTensor("w", [64, channels, 3, 3], new Float32Array(64 * channels * 9).fill(0.01)),
      floatTensor("v", [64, 10], new Float32Array(640).fill(0.1)),
    ],
  });
}

async function estimate(model: Model, channels: number, table = madeUpTable()) {
  const bench = workbenchOf(() => [feedsOf([1, channels, 8, 8])(1)]);
  const facts = await inferShapes(model, bench);
  const shapes = new Map([...facts!].map(([name, { shape }]) => [name, shape]));
  return estimateCost(model, shapes, { table, processor: "vnni" })!;
}

async function quantized(model: Model, channels: number): Promise<Model> {
  const { model: result } = await runPasses({
    model,
    passes: [findPass("quantize-static")!.bind({})],
    workbench: workbenchOf(() => [feedsOf([1, channels, 8, 8])(1)]),
  });
  return result;
}

describe("a foretold time", () => {
  it("needs the file and what was kept of it alone, and counts what is not covered", async () => {
    const bench = workbenchOf(() => [feedsOf([1, 64, 8, 8])(1)]);
    const kept = await keptShapes(net(64), bench);
    const shapes = keptShapesSchema.parse(JSON.parse(JSON.stringify(kept)));
    const costs = { table: madeUpTable(), processor: "vnni" } as const;
    const foretold = foretellTime({ modelBytes: net(64).encode(), shapes }, costs)!;
    expect(foretold.timeMs * 1e6).toBeCloseTo((await estimate(net(64), 64)).timeNs);
    expect(foretold.notCovered).toEqual(["1 Tanh"]);
  });

  it("has nothing to rest on where the file does not run", async () => {
    const nodes = [node("NoSuchOperator", ["x"], ["y"])];
    const broken = buildModel({ opset: 13, inputShape: [1, 4], nodes, initializers: [] });
    expect(
      await keptShapes(
        broken,
        workbenchOf(() => [feedsOf([1, 4])(1)]),
      ),
    ).toBeNull();
  });
});

describe("an estimate", () => {
  it("adds up products and elements, and names what it does not know", async () => {
    const { nodes, timeNs, notCovered } = await estimate(net(64), 64);
    expect(nodes.map(({ node: name, timeNs: each }) => [name, each])).toEqual([
      ["c_node", 9 * 64 * 64 * 64],
      ["a_node", 64 * 64],
      ["g_node", 64 * 64],
      ["m_node", 64 * 10],
    ]);
    expect(timeNs).toBe(9 * 64 ** 3 + 2 * 64 * 64 + 640);
    expect(notCovered).toEqual(["Tanh y_node"]);
  });

  it("counts int8 layers once, with the conversion at the start", async () => {
    const { nodes } = await estimate(await quantized(net(64), 64), 64);
    const conv = nodes.find(({ node: name }) => name === "c_node")!;
    expect(conv).toMatchObject({ type: "int8", timeNs: 9 * 64 ** 3 * 0.25 });
    expect(nodes.filter(({ operator }) => operator === "quantize")).toHaveLength(1);
  });

  it("rounds channels up to the processor's blocks, and charges codes that are no multiple of 4", async () => {
    const convOf = async (model: Model, channels: number): Promise<number> => {
      const { nodes } = await estimate(model, channels);
      return nodes.find(({ node: name }) => name === "c_node")!.timeNs;
    };
    expect(await convOf(net(50), 50)).toBe(await convOf(net(64), 64));
    const aligned = await convOf(await quantized(net(64), 64), 64);
    const unaligned = await convOf(await quantized(net(62), 62), 62);
    expect(unaligned / aligned).toBeCloseTo((2 * 62 * 62) / (64 * 64));
  });
});
