/** The workbench of a golden set: calibration sees the samples that it is given and no other one. */
import { expect, it } from "vitest";
import { workbenchOf } from "../../controller/jobs/workbench.ts";
import { buildGoldenSet, parseGoldenManifest } from "../../shared/evaluation/golden-set.ts";
import { splitPool } from "../../shared/evaluation/golden-split.ts";
import { encodeNpy } from "../../shared/evaluation/npy.ts";
import { tinyGolden, tinyInterface } from "../helpers/tiny-classifier.ts";

it("calibration sees calibration samples alone", async () => {
  const files = tinyGolden({ count: 300 });
  const pool = { count: 300, metric: "top-1" } as const;
  const split = splitPool(pool, 5);
  const chosen = new Set(split.calibration);
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
  const workbench = workbenchOf(set, split, tinyInterface);
  const seen: number[] = [];
  for await (const feeds of workbench.calibration()) {
    seen.push(...(feeds.get("x")!.data as Float32Array));
  }
  expect(seen).toHaveLength(split.calibration.length * 64);
  expect(Math.min(...seen)).toBe(0);
  expect(Math.max(...seen)).toBeCloseTo(51 / 255, 6);
});
