/** Calibration in a real session: it sees the samples that it is given and no other one. */
import { expect, it } from "vitest";
import { applyRecipe } from "../../controller/compress/compress.ts";
import { parseRecipes } from "../../controller/compress/recipe.ts";
import { calibrator } from "../../controller/jobs/calibrate.ts";
import { buildGoldenSet, parseGoldenManifest } from "../../shared/evaluation/golden-set.ts";
import { splitPool } from "../../shared/evaluation/golden-split.ts";
import { encodeNpy } from "../../shared/evaluation/npy.ts";
import { tinyGolden, tinyInterface, tinyModelBytes } from "../helpers/tiny-classifier.ts";

const recipes = parseRecipes(`
recipes:
  - name: int8
    summary: static int8
    passes:
      - pass: constants-to-initializers
      - pass: quantize-static
        options: { calibration: { method: min-max } }
`);

it("ranges come from calibration samples alone", async () => {
  const files = tinyGolden({ count: 300 });
  const pool = { count: 300, metric: "top-1" } as const;
  const { calibration } = splitPool(pool, 5);
  const chosen = new Set(calibration);
  // Every other sample is white; those that calibrate never go beyond 51 of 255.
  const data = Uint8Array.from({ length: 300 * 64 }, (_, at) =>
    chosen.has(Math.floor(at / 64)) ? at % 52 : 255,
  );
  const set = buildGoldenSet(
    parseGoldenManifest(files["golden.json"]),
    new Map<string, Uint8Array>([
      ["x.npy", encodeNpy({ dtype: "uint8", shape: [300, 8, 8], data })],
      ["labels.npy", files["labels.npy"]],
    ]),
  );
  const seen = new Map<string, readonly [number, number]>();
  const calibrate = calibrator(set, calibration, tinyInterface);
  await applyRecipe({
    modelBytes: tinyModelBytes(),
    recipe: recipes[0]!,
    async calibrate(request) {
      const ranges = await calibrate(request);
      for (const [name, range] of ranges) seen.set(name, [range.min, range.max]);
      return ranges;
    },
  });
  expect(seen.get("x")?.[0]).toBe(0);
  expect(seen.get("x")?.[1]).toBeCloseTo(51 / 255, 6);
});
