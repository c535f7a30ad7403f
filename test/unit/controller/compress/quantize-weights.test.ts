/** Weight-only quantization: numbers, forms, what stays float, and what the runtime makes of it. */
import { describe, expect, it } from "vitest";
import type { TensorValue } from "../../../../controller/compress/execute.ts";
import { auditFusion } from "../../../../controller/compress/fusion-audit.ts";
import { runPasses } from "../../../../controller/compress/pass-manager.ts";
import { findPass } from "../../../../controller/compress/passes/registry.ts";
import { blockScaleOption } from "../../../../controller/compress/quantize/block-scale/registry.ts";
import type { BlockFormat } from "../../../../controller/compress/quantize/block-scale/strategy.ts";
import { packRows, quantizeBlocks } from "../../../../controller/compress/quantize/blocks.ts";
import { makeGraph, makeModel, makeValueInfo } from "../../../../controller/onnx/build.ts";
import { Model } from "../../../../controller/onnx/model.ts";
import { floatTensor, intTensor } from "../../../../controller/onnx/tensor.ts";
import { randomValues } from "../onnx/sample-models.ts";
import { floats, optimizedBytes, runOnce, signalToNoise } from "./run-model.ts";
import { buildModel, node } from "./sample-nets.ts";

const bind = (options: Record<string, unknown>) => findPass("quantize-weights")!.bind(options);

async function quantized(model: Model, options: Record<string, unknown>) {
  const result = await runPasses({ model, passes: [bind(options)] });
  return { ...result, report: result.journal[0]?.report };
}

async function firstOutput(
  model: Model,
  feeds: ReadonlyMap<string, TensorValue>,
): Promise<Float32Array> {
  const [output] = (await runOnce(model.encode(), feeds)).values();
  return output!.data as Float32Array;
}

const operators = (model: Model): string[] => model.graph.sortedNodes().map(({ opType }) => opType);

const productModel = (rows: number, columns: number, opset = 21): Model =>
  buildModel({
    opset,
    inputShape: ["n", rows],
    nodes: [node("MatMul", ["x", "w"], ["y"])],
    initializers: [floatTensor("w", [rows, columns], randomValues(3, rows * columns))],
  });

const productFeeds = (rows: number, batch = 3) =>
  new Map([["x", floats(randomValues(5, batch * rows), [batch, rows])]]);

describe("matrix products", () => {
  it.each([
    [8, true, 37],
    [8, false, 37],
    [4, true, 18],
    [4, false, 18],
    [2, true, 6],
    [2, false, 6],
  ])(
    "%i bits, symmetric %s: at least %i dB, also with rows of 250",
    async (bits, symmetric, least) => {
      const model = productModel(250, 33);
      const { model: result } = await quantized(model, { bits, symmetric });
      expect(operators(result)).toEqual(["MatMulNBits"]);
      const [before, after] = [
        await firstOutput(model, productFeeds(250)),
        await firstOutput(result, productFeeds(250)),
      ];
      expect(signalToNoise(before, after)).toBeGreaterThan(least);
      expect(signalToNoise(before, after)).toBeLessThan(60);
    },
  );

  it.each([true, false])(
    "4 bits mean the same in all three forms, symmetric %s",
    async (symmetric) => {
      const model = productModel(96, 20);
      const feeds = productFeeds(96);
      const outputs: Float32Array[] = [];
      for (const form of ["matmul-nbits", "cast", "dequantize-linear"]) {
        const { model: result } = await quantized(model, {
          bits: 4,
          form,
          symmetric,
          accuracyLevel: 0,
        });
        outputs.push(await firstOutput(result, feeds));
      }
      const [nbits, cast, dequantized] = outputs;
      expect(signalToNoise(cast!, nbits!)).toBeGreaterThan(110);
      // onnxruntime makes MatMulNBits of it, which multiplies integers.
      expect(signalToNoise(cast!, dequantized!)).toBeGreaterThan(40);
    },
  );

  it("a Gemm brings its bias along, whatever its shape", async () => {
    const biases = [[24], [1, 24], [1], [4, 24]];
    for (const shape of biases) {
      const count = shape.reduce((product, dim) => product * dim, 1);
      const model = buildModel({
        opset: 13,
        inputShape: [4, 32],
        nodes: [node("Gemm", ["x", "w", "b"], ["y"], { transB: { int: 1 } })],
        initializers: [
          floatTensor("w", [24, 32], randomValues(1, 24 * 32)),
          floatTensor("b", shape, randomValues(2, count, 20)),
        ],
      });
      const { model: result } = await quantized(model, {});
      const before = await firstOutput(model, productFeeds(32, 4));
      const after = await firstOutput(result, productFeeds(32, 4));
      expect(signalToNoise(before, after)).toBeGreaterThan(40);
    }
  });

  it("a weight that two nodes read is stored once", async () => {
    const model = buildModel({
      opset: 13,
      inputShape: [1, 32],
      nodes: [node("MatMul", ["x", "w"], ["h"]), node("MatMul", ["h", "w"], ["y"])],
      initializers: [floatTensor("w", [32, 32], randomValues(1, 1024, 0.2))],
    });
    const { model: result, report } = await quantized(model, { bits: 4 });
    expect(report).toMatchObject({ products: 2 });
    expect(result.graph.initializers.size).toBe(2);
  });

  it("what has no kernel or would not shrink stays float and is named", async () => {
    const model = buildModel({
      opset: 13,
      inputShape: [32, 32],
      nodes: [
        node("Gemm", ["x", "w"], ["turned"], { transA: { int: 1 } }),
        node("MatMul", ["turned", "w"], ["h"]),
        node("MatMul", ["h", "w"], ["m"]),
        node("Reshape", ["m", "narrow"], ["r"]),
        node("MatMul", ["r", "thin"], ["y"]),
      ],
      initializers: [
        floatTensor("w", [32, 32], randomValues(1, 1024, 0.2)),
        intTensor("narrow", [64, 16]),
        floatTensor("thin", [16, 1], randomValues(2, 16)),
      ],
    });
    const excluded = { exclude: ["h_node", "m_node"], bits: 4 };
    expect(bind(excluded).notApplicable(model)).toContain("turned_node: this form of the operator");
    const { report: some } = await quantized(model, { bits: 4 });
    expect(some).toMatchObject({ products: 2 });
    expect(some!["kept"]).toEqual([
      expect.stringContaining("turned_node"),
      expect.stringContaining("y_node: its 64 bytes"),
    ]);
  });

  it("refuses 2 bits in a form that has none", () => {
    expect(() => bind({ bits: 2, form: "cast" })).toThrow(/2 bits exist only as matmul-nbits/);
  });
});

describe("embeddings", () => {
  const rows = 40;
  const width = 24;
  const model = (): Model =>
    Model.fromProto(
      makeModel({
        opset: 21,
        graph: makeGraph({
          nodes: [node("Gather", ["table", "x"], ["y"])],
          inputs: [makeValueInfo("x", "int64", ["n"])],
          outputs: [makeValueInfo("y", "float32", ["n", width])],
          initializers: [floatTensor("table", [rows, width], randomValues(1, rows * width))],
        }),
      }),
    );
  const feeds = new Map<string, TensorValue>([
    ["x", { type: "int64", shape: [4], data: BigInt64Array.of(0n, 39n, 7n, -1n) }],
  ]);

  it.each([
    [8, true, 40],
    [8, false, 40],
    [4, true, 18],
    [4, false, 18],
    [2, false, 6],
  ])("%i bits, symmetric %s: at least %i dB", async (bits, symmetric, least) => {
    const { model: result } = await quantized(model(), { bits, symmetric });
    expect(operators(result)).toEqual(["GatherBlockQuantized"]);
    const before = await firstOutput(model(), feeds);
    const after = await firstOutput(result, feeds);
    expect(signalToNoise(before, after)).toBeGreaterThan(least);
  });

  it("can be left alone", async () => {
    expect(bind({ embeddings: false }).notApplicable(model())).toContain("no operator");
  });
});

describe("convolutions", () => {
  const model = (opset = 13): Model =>
    buildModel({
      opset,
      inputShape: [1, 16, 6, 6],
      nodes: [
        node("Conv", ["x", "w", "b"], ["c"], { pads: { ints: [1, 1, 1, 1] } }),
        node("ConvTranspose", ["c", "wt"], ["y"]),
      ],
      initializers: [
        floatTensor("w", [32, 16, 3, 3], randomValues(1, 32 * 16 * 9)),
        floatTensor("b", [32], randomValues(2, 32)),
        floatTensor("wt", [32, 8, 2, 2], randomValues(3, 32 * 8 * 4)),
      ],
    });
  const feeds = new Map([["x", floats(randomValues(4, 16 * 36), [1, 16, 6, 6])]]);

  it("the runtime makes floats of the cast form once, at load", async () => {
    const { model: result } = await quantized(model(), {});
    expect(result.encode().length).toBeLessThan(model().encode().length / 3.4);
    const kernels = auditFusion(await optimizedBytes(result.encode())).operators;
    expect(kernels).toEqual(auditFusion(await optimizedBytes(model().encode())).operators);
    const [before, after] = [await firstOutput(model(), feeds), await firstOutput(result, feeds)];
    expect(signalToNoise(before, after)).toBeGreaterThan(38);
  });

  it.each([
    [8, 13],
    [4, 21],
  ])("%i bits give the same floats in both forms", async (convolutionBits, opset) => {
    const cast = await quantized(model(opset), { convolutionBits, blockSize: 16 });
    const form = "dequantize-linear";
    const other = await quantized(model(opset), { convolutionBits, form, blockSize: 16 });
    expect(operators(other.model)).toContain("DequantizeLinear");
    expect(
      signalToNoise(await firstOutput(cast.model, feeds), await firstOutput(other.model, feeds)),
    ).toBeGreaterThan(110);
  });

  it("asks for the operator set that 4 bits need", async () => {
    await expect(quantized(model(13), { convolutionBits: 4 })).rejects.toThrow(/target 21/);
  });
});

describe("blocks", () => {
  const rows = (values: number[]) => ({
    values: Float32Array.from(values),
    channels: 1,
    length: values.length,
  });
  const code = (values: number[], format: BlockFormat, strategy = "min-max") =>
    quantizeBlocks(rows(values), format, blockScaleOption.parse({ strategy }));
  const errorOf = (
    values: number[],
    format: BlockFormat,
    strategy: string,
    power: number,
  ): number => {
    const { codes, scales, zeroPoints } = code(values, format, strategy);
    return values.reduce((sum, value, index) => {
      const back = (codes[index]! - zeroPoints[0]!) * scales[0]!;
      return sum + Math.abs(back - value) ** power;
    }, 0);
  };

  it("the extreme of a symmetric block is exact, on either side", () => {
    const format: BlockFormat = { bits: 4, blockSize: 16, symmetric: true };
    for (const extreme of [3, -3]) {
      const { codes, scales } = code([extreme, 1, -1, 0], format);
      expect((codes[0]! - 8) * scales[0]!).toBeCloseTo(extreme, 6);
      expect(codes.subarray(4)).toEqual(new Uint8Array(12).fill(8));
    }
  });

  it("an all-zero block has a scale and codes of its zero point", () => {
    const { codes, scales } = code([0, 0], { bits: 4, blockSize: 16, symmetric: true });
    expect(scales[0]).toBe(1);
    expect([...codes.subarray(0, 2)]).toEqual([8, 8]);
  });

  it("packs the first code lowest and starts each row with a byte", () => {
    expect(packRows(Uint8Array.of(1, 2, 3, 4, 5, 6), 3, 4)).toEqual(
      Uint8Array.of(0x21, 0x03, 0x54, 0x06),
    );
    expect(packRows(Uint8Array.of(1, 2, 3, 0, 1), 5, 2)).toEqual(Uint8Array.of(0b00111001, 1));
  });

  it("mse cuts a block's range where that helps the rest", () => {
    const format: BlockFormat = { bits: 2, blockSize: 64, symmetric: true };
    let [plain, cut] = [0, 0];
    for (let seed = 1; seed <= 10; seed++) {
      const values = [...randomValues(seed, 64)].map(Math.fround);
      plain += errorOf(values, format, "min-max", 2.4);
      cut += errorOf(values, format, "mse", 2.4);
    }
    expect(cut).toBeLessThan(0.85 * plain);
  });
});
