/** The demo's data: the pool of digits, and inputs for the third-party text detector. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ModelInterface } from "../../shared/artifact/bundle.ts";
import { encodeNpy } from "../../shared/evaluation/npy.ts";
import { goldenPool, writeGoldenPool } from "../data/golden-pool.ts";
import { imageBytes, imageSide, loadMnist } from "../data/mnist.ts";

/** Enough for calibration, selection, sealed samples and a shard of 500 for each of eight devices. */
const poolImages = 10_000;

export function writeDigitPool(folder: string): { manifestPath: string; count: number } {
  return writeGoldenPool(folder, goldenPool(loadMnist(), poolImages));
}

/** The detector wants multiples of 32 pixels; small pages keep the demo short. */
const pageSide = 96;
const pages = 12;

/**
 * Pages of handwritten digits as the detector's inputs: float32 [3, 96, 96], normalised as PP-OCR
 * does ((x/255 − mean) / deviation of ImageNet). They have no labels: the metric is agreement.
 */
export function writeOcrInputs(folder: string): {
  manifestPath: string;
  interface: ModelInterface;
} {
  const { test } = loadMnist();
  const data = new Uint8Array(pages * 3 * pageSide * pageSide);
  for (let page = 0; page < pages; page++) {
    for (let cell = 0; cell < 9; cell++) drawDigit(data, page, cell, test.images);
  }
  mkdirSync(folder, { recursive: true });
  const shape = [pages, 3, pageSide, pageSide];
  writeFileSync(join(folder, "pages.npy"), encodeNpy({ dtype: "uint8", shape, data }));
  const manifest = {
    format: "fleetfit-golden/1",
    name: "pages of digits",
    inputs: { x: { file: "pages.npy" } },
    metric: { name: "agreement" },
  };
  const manifestPath = join(folder, "golden.json");
  writeFileSync(manifestPath, JSON.stringify(manifest));
  return { manifestPath, interface: detectorInterface };
}

/** Cell 0 … 8 of a 3 × 3 grid, white on black, the same in all three channels. */
function drawDigit(data: Uint8Array, page: number, cell: number, images: Uint8Array): void {
  const image = images.subarray((page * 9 + cell) * imageBytes, (page * 9 + cell + 1) * imageBytes);
  const left = 2 + (cell % 3) * 32;
  const top = 2 + Math.floor(cell / 3) * 32;
  for (let channel = 0; channel < 3; channel++) {
    const plane = (page * 3 + channel) * pageSide * pageSide;
    for (let y = 0; y < imageSide; y++) {
      const row = image.subarray(y * imageSide, (y + 1) * imageSide);
      data.set(row, plane + (top + y) * pageSide + left);
    }
  }
}

const mean = [0.485, 0.456, 0.406];
const deviation = [0.229, 0.224, 0.225];
const detectorInterface: ModelInterface = {
  inputs: [
    {
      tensor: "x",
      sample: { dtype: "uint8", shape: [3, pageSide, pageSide] },
      steps: [
        { op: "cast", to: "float32" },
        {
          op: "affine",
          axis: 0,
          scale: deviation.map((value) => 1 / (255 * value)),
          offset: mean.map((value, channel) => -value / deviation[channel]!),
        },
      ],
    },
  ],
  output: { kind: "tensors", tensors: ["sigmoid_0.tmp_0"] },
};
