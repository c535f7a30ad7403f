/**
 * Makes the pair of nets that an agent times to learn what int8 brings on its hardware: two 3×3
 * convolutions over [1, 16, 32, 32], in float32 and as static int8 of the same weights.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { applyRecipe } from "../../controller/compress/compress.ts";
import type { TensorValue, Workbench } from "../../controller/compress/execute.ts";
import { parseRecipes } from "../../controller/compress/recipe.ts";
import { makeGraph, makeModel, makeNode, makeValueInfo } from "../../controller/onnx/build.ts";
import { Model } from "../../controller/onnx/model.ts";
import { encodeModel } from "../../controller/onnx/proto.ts";
import { floatTensor } from "../../controller/onnx/tensor.ts";
import { seededRandom } from "../../shared/prng.ts";

const channels = 16;
const side = 32;
const weightCount = channels * channels * 9;
const folder = new URL("../../shared/inference/probe-models/", import.meta.url);

/** Every activation lies within ±4 for inputs within ±1: a fixed range needs no data and no run. */
const range: TensorValue = { type: "float32", shape: [2], data: Float32Array.of(-4, 4) };
const fixedRanges: Workbench = {
  async load(modelBytes) {
    const names = Model.decode(modelBytes).graph.outputNames;
    return {
      run: async () => new Map(names.map((name) => [name, range])),
      close: async () => {},
      outputShapes: new Map(),
    };
  },
  calibration: () => [new Map([["x", range]])],
};

export async function makeProbeModels(): Promise<void> {
  const float32 = float32Model();
  const text = readFileSync(
    new URL("../../controller/compress/recipes.yaml", import.meta.url),
    "utf8",
  );
  const recipe = parseRecipes(text).find(({ name }) => name === "int8-static-reduced-range");
  if (recipe === undefined) throw new Error("the int8 recipe is missing");
  const made = await applyRecipe({
    modelBytes: float32,
    recipe,
    workbench: fixedRanges,
  });
  if (made.outcome !== "made") throw new Error("the int8 recipe does not apply");
  mkdirSync(folder, { recursive: true });
  writeFileSync(new URL("float32.onnx", folder), float32);
  writeFileSync(new URL("int8.onnx", folder), made.bytes);
}

function float32Model(): Uint8Array {
  const random = seededRandom(7);
  const weights = () =>
    Float32Array.from({ length: weightCount }, () => (random.nextFloat() - 0.5) / 12);
  const shape = [channels, channels, 3, 3];
  const conv = (input: string, weight: string, output: string) =>
    makeNode({
      opType: "Conv",
      inputs: [input, weight],
      outputs: [output],
      attributes: { kernel_shape: { ints: [3, 3] }, pads: { ints: [1, 1, 1, 1] } },
    });
  const value = (name: string) => makeValueInfo(name, "float32", [1, channels, side, side]);
  return encodeModel(
    makeModel({
      opset: 13,
      graph: makeGraph({
        name: "probe",
        inputs: [value("x")],
        outputs: [value("y")],
        nodes: [
          conv("x", "w1", "c1"),
          makeNode({ opType: "Relu", inputs: ["c1"], outputs: ["r1"] }),
          conv("r1", "w2", "c2"),
          makeNode({ opType: "Relu", inputs: ["c2"], outputs: ["y"] }),
        ],
        initializers: [floatTensor("w1", shape, weights()), floatTensor("w2", shape, weights())],
      }),
    }),
  );
}
