/**
 * The same scales, zero points and integers as onnxruntime's own quantizer, bit by bit.
 *
 * The fixture was made with onnxruntime 1.30.0 (onnx 1.23.2, numpy 2.4.6): quantize_static with
 * QuantFormat.QDQ and CalibrationMethod.MinMax on `parityNet` and the samples of `paritySeeds`. Per
 * activation it holds [scale, zero point], per constant [scales, distinct zero points, the sum of
 * code · (position + 1)].
 */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { runPasses } from "../../../../controller/compress/pass-manager.ts";
import { quantizeStatic } from "../../../../controller/compress/passes/quantize-static.ts";
import type { Graph } from "../../../../controller/onnx/graph.ts";
import { tensorFloats, tensorNumbers } from "../../../../controller/onnx/tensor.ts";
import { parityFeeds, parityNet, paritySeeds } from "./parity-net.ts";
import { workbenchOf } from "./run-model.ts";

type Activation = readonly [scale: number, zeroPoint: number];
type Constant = readonly [scales: readonly number[], zeroPoints: readonly number[], sum: number];

const fixture = JSON.parse(
  readFileSync(
    new URL("../../../fixtures/compress/onnxruntime-1.30-scales.json", import.meta.url),
    "utf8",
  ),
) as Record<string, Record<string, Activation | Constant>>;

const schemes: Record<string, Record<string, unknown>> = {
  "U8S8 per channel": {},
  "U8S8 per tensor": { perChannel: false },
  "U8S8 per channel, reduced range": { reduceRange: true },
  "S8S8 per channel": { activations: "int8" },
  "S8S8 per channel, symmetric": { activations: "int8", symmetricActivations: true },
  "U8S8 per tensor, symmetric": { symmetricActivations: true, perChannel: false },
  "U8U8 per tensor": { weights: "uint8", perChannel: false },
  "U8U8 per channel": { weights: "uint8" },
  "U8U8 per tensor, reduced range": { weights: "uint8", perChannel: false, reduceRange: true },
};

async function quantized(options: Record<string, unknown>): Promise<Graph> {
  const { model } = await runPasses({
    model: parityNet(),
    passes: [quantizeStatic.bind(options)],
    workbench: workbenchOf(() => paritySeeds.map(parityFeeds)),
  });
  return model.graph;
}

/** What the fixture holds, of our graph. */
function numbersOf(graph: Graph): Record<string, Activation | Constant> {
  const found: Record<string, Activation | Constant> = {};
  const constant = (name: string): number[] => tensorNumbers(graph.constant(name)!);
  for (const node of graph.nodes) {
    const [value, scale, zeroPoint] = node.inputs as [string, string, string];
    if (node.is("QuantizeLinear")) {
      found[value] = [constant(scale)[0]!, constant(zeroPoint)[0]!];
    }
    if (node.is("DequantizeLinear") && graph.constant(value) !== undefined) {
      const sum = constant(value).reduce((all, code, at) => all + code * (at + 1), 0);
      const scales = [...tensorFloats(graph.constant(scale)!)];
      found[value.replace(/_q$/, "")] = [scales, [...new Set(constant(zeroPoint))], sum];
    }
  }
  return found;
}

describe("the numbers of onnxruntime's quantizer", () => {
  it("are known for every scheme", () => {
    expect(Object.keys(fixture)).toEqual(Object.keys(schemes));
  });

  it.each(Object.entries(schemes))("%s", async (name, options) => {
    const expected = { ...fixture[name]! };
    const found = numbersOf(await quantized(options));
    if (name === "U8U8 per channel") {
      // onnxruntime leaves the bias of uint8 weights to overflow; ours gets a larger weight scale.
      const [scales] = found["b2"] as Constant;
      expect(scales[1]! * 2 ** 31).toBeGreaterThan(1.5);
      for (const each of ["w2", "b2"]) {
        delete expected[each];
        delete found[each];
      }
    }
    expect(found).toEqual(expected);
  });
});
