/** The emulation of integer kernels against the runtime, and what 16-bit pairs lose against hand-made sums. */
import { describe, expect, it } from "vitest";
import { emulate } from "../../../../controller/compress/emulate/emulate.ts";
import { canSaturate } from "../../../../controller/compress/emulate/pairs.ts";
import { multiply, packWeights } from "../../../../controller/compress/emulate/products.ts";
import { auditFusion } from "../../../../controller/compress/fusion-audit.ts";
import { runPasses } from "../../../../controller/compress/pass-manager.ts";
import { findPass } from "../../../../controller/compress/passes/registry.ts";
import { makeNode } from "../../../../controller/onnx/build.ts";
import type { Model } from "../../../../controller/onnx/model.ts";
import { floatTensor, makeTensor } from "../../../../controller/onnx/tensor.ts";
import { randomValues } from "../onnx/sample-models.ts";
import { type EmulatedNet, emulatedNets } from "./emulated-nets.ts";
import { floats, loadModel, optimizedBytes, runOnce, workbenchOf } from "./run-model.ts";
import { buildModel, feedsOf, node } from "./sample-nets.ts";

async function quantized(net: EmulatedNet, options: Record<string, unknown>): Promise<Model> {
  const { model } = await runPasses({
    model: net.model(),
    passes: [findPass("quantize-static")!.bind(options)],
    workbench: workbenchOf(() => [1, 2, 3].map(net.feeds)),
  });
  return model;
}

const schemes = [
  {},
  { perChannel: false },
  { activations: "int8" },
  { activations: "int8", symmetricActivations: true, perChannel: false },
  { weights: "uint8" },
  { weights: "uint8", perChannel: false },
];

// Weights of seven bits saturate on no processor, so every machine must give these very numbers.
describe("emulated on either processor, without a pair at risk", () => {
  it.each(emulatedNets)("$name: the runtime's outputs to the bit", async (net) => {
    for (const scheme of schemes) {
      const model = await quantized(net, { reduceRange: true, ...scheme });
      const audit = auditFusion(await optimizedBytes(model.encode()));
      for (const processor of ["vnni", "avx2"] as const) {
        const emulation = emulate(model, { processor, load: loadModel });
        expect(emulation.notEmulated).toEqual([]);
        expect(emulation.emulated).toHaveLength(audit.integerNodes);
        for (const seed of [4, 5]) {
          const actual = await emulation.run(net.feeds(seed));
          expect(actual).toEqual(await runOnce(model.encode(), net.feeds(seed)));
        }
        await emulation.close();
      }
    }
  });
});

describe("emulated in the smallest form", () => {
  it.each(emulatedNets)("$name: the runtime's outputs to the bit", async (net) => {
    const passes = [
      findPass("quantize-static")!.bind({ reduceRange: true }),
      findPass("to-qoperator")!.bind({ when: "always" }),
      findPass("compact")!.bind({}),
    ];
    const workbench = workbenchOf(() => [1, 2, 3].map(net.feeds));
    const { model } = await runPasses({ model: net.model(), passes, workbench });
    const audit = auditFusion(await optimizedBytes(model.encode()));
    for (const processor of ["vnni", "avx2"] as const) {
      const emulation = emulate(model, { processor, load: loadModel });
      const isTold = net.name === "enlarged image";
      expect(emulation.notEmulated).toHaveLength(isTold ? 1 : 0);
      expect(emulation.emulated).toHaveLength(audit.integerNodes);
      const actual = await emulation.run(net.feeds(4));
      if (!isTold) expect(actual).toEqual(await runOnce(model.encode(), net.feeds(4)));
      await emulation.close();
    }
  });
});

describe("emulated on Arm", () => {
  const signed = { activations: "int8", reduceRange: true };
  it("gives what x86 gives where that can shift all activations, and computes more layers on codes", async () => {
    let same = 0;
    let more = 0;
    for (const net of emulatedNets) {
      const model = await quantized(net, signed);
      const x86 = emulate(model, { processor: "vnni", load: loadModel });
      const arm = emulate(model, { processor: "arm", load: loadModel });
      if (arm.emulated.length > x86.emulated.length) more++;
      else {
        same++;
        expect(await arm.run(net.feeds(4)), net.name).toEqual(await x86.run(net.feeds(4)));
      }
      await x86.close();
      await arm.close();
    }
    // A value that two operators read cannot be shifted: "sum of two", "gate", "joined channels".
    expect({ same, more }).toEqual({ same: emulatedNets.length - 3, more: 3 });
  });

  it("rounds half a code away from zero where it adds, x86 to the even code", async () => {
    const codes = (name: string, values: readonly number[]) =>
      makeTensor({ name, type: "uint8", shape: [values.length], data: Uint8Array.from(values) });
    const model = buildModel({
      opset: 13,
      inputShape: [4],
      nodes: [
        node("QuantizeLinear", ["x", "one", "zero"], ["a"]),
        makeNode({
          opType: "QLinearAdd",
          domain: "com.microsoft",
          inputs: ["a", "one", "zero", "b", "one", "zero", "two", "zero"],
          outputs: ["c"],
        }),
        node("DequantizeLinear", ["c", "one", "zero"], ["y"]),
      ],
      initializers: [
        codes("b", [0, 0, 2, 250]),
        makeTensor({ name: "zero", type: "uint8", shape: [], data: new Uint8Array(1) }),
        floatTensor("one", [], [1]),
        floatTensor("two", [], [2]),
      ],
    });
    const feeds = new Map([["x", floats(Float32Array.of(1, 3, 3, 255), [4])]]);
    const sums = async (processor: "arm" | "vnni") =>
      (await emulate(model, { processor }).run(feeds)).get("y")!.data;
    expect([...(await sums("arm"))]).toEqual([1, 2, 3, 253]);
    expect([...(await sums("vnni"))]).toEqual([0, 2, 2, 252]);
  });

  it("does not saturate", async () => {
    const net = emulatedNets[0]!;
    const model = await quantized(net, { activations: "int8" });
    const outputs = async (processor: "arm" | "vnni" | "avx2") =>
      (await emulate(model, { processor, load: loadModel }).run(net.feeds(4))).get("y")!.data;
    expect(await outputs("arm")).toEqual(await outputs("vnni"));
    expect(await outputs("arm")).not.toEqual(await outputs("avx2"));
  });
});

describe("emulated dynamic int8", () => {
  it("gives the runtime's outputs to the bit", async () => {
    const net = emulatedNets.find(({ name }) => name === "MatMul after MatMul")!;
    for (const perChannel of [true, false]) {
      const { model } = await runPasses({
        model: net.model(),
        passes: [findPass("quantize-dynamic")!.bind({ reduceRange: true, perChannel })],
      });
      const emulation = emulate(model, { processor: "avx2", load: loadModel });
      expect(emulation.notEmulated).toEqual([]);
      expect(await emulation.run(net.feeds(4))).toEqual(
        await runOnce(model.encode(), net.feeds(4)),
      );
      await emulation.close();
    }
  });
});

describe("an activation between a convolution and its codes", () => {
  it.each([
    ["Relu", 0, 1],
    ["Relu", 128, 0],
    ["Clip", 0, 1],
    ["Clip", 7, 0],
  ] as const)(
    "%s before zero point %i: %i convolutions on codes, as in the runtime",
    async (activation, zeroPoint, expected) => {
      const model = buildModel({
        opset: 13,
        inputShape: [1, 4, 6, 6],
        nodes: [
          node("QuantizeLinear", ["x", "s", "z"], ["x_q"]),
          node("DequantizeLinear", ["x_q", "s", "z"], ["x_dq"]),
          node("DequantizeLinear", ["w", "s", "w_z"], ["w_dq"]),
          node("Conv", ["x_dq", "w_dq"], ["c"]),
          node(activation, activation === "Relu" ? ["c"] : ["c", "low", "high"], ["r"]),
          node("QuantizeLinear", ["r", "y_s", "y_z"], ["y_q"]),
          node("DequantizeLinear", ["y_q", "y_s", "y_z"], ["y"]),
        ],
        initializers: [
          floatTensor("s", [], [0.0078125]),
          makeTensor({ name: "z", type: "uint8", shape: [], data: Uint8Array.of(128) }),
          makeTensor({
            name: "w",
            type: "int8",
            shape: [4, 4, 1, 1],
            data: Int8Array.from({ length: 16 }, (_, at) => at * 8 - 60),
          }),
          makeTensor({ name: "w_z", type: "int8", shape: [], data: new Int8Array(1) }),
          floatTensor("low", [], [0]),
          floatTensor("high", [], [1]),
          floatTensor("y_s", [], [0.00390625]),
          makeTensor({ name: "y_z", type: "uint8", shape: [], data: Uint8Array.of(zeroPoint) }),
        ],
      });
      const emulation = emulate(model, { processor: "vnni", load: loadModel });
      expect(emulation.emulated).toHaveLength(expected);
      const audit = auditFusion(await optimizedBytes(model.encode()));
      expect(audit.operators["QLinearConv"] ?? 0).toBe(expected);
      const feeds = feedsOf([1, 4, 6, 6])(1);
      expect(await emulation.run(feeds)).toEqual(await runOnce(model.encode(), feeds));
      await emulation.close();
    },
  );
});

describe("what an emulation cannot do", () => {
  it("names products of bytes that run as this machine does them", async () => {
    const model = buildModel({
      opset: 13,
      inputShape: [1, 4, 6, 6],
      nodes: [
        node("DynamicQuantizeLinear", ["x"], ["codes", "scale", "zero"]),
        node("ConvInteger", ["codes", "w", "zero"], ["sums"]),
        node("Cast", ["sums"], ["y"], { to: { int: 1 } }),
      ],
      initializers: [
        makeTensor({
          name: "w",
          type: "int8",
          shape: [2, 4, 1, 1],
          data: new Int8Array(8).fill(3),
        }),
      ],
    });
    const emulation = emulate(model, { processor: "avx2", load: loadModel });
    expect(emulation.notEmulated).toEqual(["sums_node"]);
    const feeds = feedsOf([1, 4, 6, 6])(1);
    expect(await emulation.run(feeds)).toEqual(await runOnce(model.encode(), feeds));
    await emulation.close();
  });

  it("asks for a runtime where the model needs one", async () => {
    const net = emulatedNets.find(({ name }) => name === "leaky gate")!;
    const model = await quantized(net, {});
    await expect(emulate(model, { processor: "vnni" }).run(net.feeds(1))).rejects.toMatchObject({
      code: "onnx-unsupported",
      message: expect.stringContaining("LeakyRelu"),
    });
  });
});

describe("products of bytes", () => {
  it("add two neighbours to 16 bits on avx2, and saturate", () => {
    const rows = Uint8Array.of(255, 255, 255, 255, 10);
    const weights = Int8Array.of(127, 127, -128, -100, 5);
    const sums = (processor: "vnni" | "avx2"): number => {
      const result = new Int32Array(1);
      multiply(rows, 1, packWeights(weights, 1, 5, processor), result);
      return result[0]!;
    };
    expect(sums("vnni")).toBe(255 * 254 - 255 * 228 + 50);
    expect(sums("avx2")).toBe(32767 - 32768 + 50);
  });

  it("saturate pair by pair, in every column and row", () => {
    const [rowCount, columns, depth] = [5, 9, 23];
    const codes = (seed: number, count: number): number[] =>
      Array.from(randomValues(seed, count, 127), Math.round);
    const rows = Uint8Array.from(codes(1, rowCount * depth), (code) => code + 128);
    const weights = Int8Array.from(codes(2, columns * depth));
    const expected: number[] = [];
    for (let row = 0; row < rowCount; row++) {
      for (let column = 0; column < columns; column++) {
        let sum = 0;
        for (let k = 0; k < depth; k += 2) {
          const at = (index: number): number =>
            index < depth ? rows[row * depth + index]! * weights[column * depth + index]! : 0;
          sum += Math.min(Math.max(at(k) + at(k + 1), -32768), 32767);
        }
        expected.push(sum);
      }
    }
    const actual = new Int32Array(rowCount * columns);
    multiply(rows, rowCount, packWeights(weights, columns, depth, "avx2"), actual);
    expect([...actual]).toEqual(expected);
    multiply(rows, rowCount, packWeights(weights, columns, depth, "vnni"), actual);
    expect([...actual]).not.toEqual(expected);
  });

  it.each([
    [64, 64, 255, false],
    [65, 64, 255, true],
    [-64, -64, 255, false],
    [-128, -1, 255, true],
    [127, -128, 255, false],
    [127, 127, 129, false],
    [127, 127, 130, true],
  ])("weights %i and %i with codes up to %i: at risk %s", (first, second, codeMax, expected) => {
    expect(canSaturate(first, second, codeMax)).toBe(expected);
  });
});
