/** Pictures of text whose text and places are known, drawn by Python's Pillow on the first run and kept. */
import fs from "node:fs";
import path from "node:path";
import { type Random, seededRandom } from "../../../../shared/prng.ts";
import { cacheFolder, peerPython, runDriver } from "../peers.ts";

export interface TextPlace {
  readonly text: string;
  readonly x: number;
  readonly y: number;
  readonly size: number;
  readonly ink: number;
}

/** Left, top, right, bottom in pixels. */
export type Box = readonly [number, number, number, number];

export interface Pictures {
  /** u8 [count, height, width]. */
  readonly pixels: Uint8Array;
  readonly boxes: readonly (readonly Box[])[];
  readonly images: readonly (readonly TextPlace[])[];
}

interface Drawing {
  readonly name: string;
  readonly width: number;
  readonly height: number;
  readonly images: readonly (readonly TextPlace[])[];
  readonly noise: number;
  readonly blur: number;
}

const paper = 235;
const seed = 71;

export async function draw(drawing: Drawing, say: (line: string) => void): Promise<Pictures> {
  const { name, images } = drawing;
  const target = path.join(cacheFolder, `${name}-${images.length}.raw`);
  const boxFile = `${target}.json`;
  if (!fs.existsSync(boxFile)) {
    const python = peerPython("onnxruntime", say);
    const job = { ...drawing, target, paper, seed };
    const driver = "render.py";
    for await (const { boxes } of runDriver<{ boxes: Box[][] }>({
      ...{ python, driver, job, folder: cacheFolder },
    })) {
      fs.writeFileSync(boxFile, JSON.stringify(boxes));
    }
  }
  return {
    pixels: new Uint8Array(fs.readFileSync(target)),
    boxes: JSON.parse(fs.readFileSync(boxFile, "utf8")) as Box[][],
    images,
  };
}

const words = [
  ...["Invoice", "Total", "Order", "Pallet", "Serial", "Batch", "Weight", "Date", "Station"],
  ...["Exit", "Gate", "Platform", "Warehouse", "Fragile", "Return", "Paid", "Customer", "Net"],
] as const;

/** One to three words, numbers among them. */
export function label(random: Random): string {
  const count = 1 + random.nextInt(3);
  return Array.from({ length: count }, () => {
    const kind = random.nextInt(4);
    if (kind === 0) return String(random.nextInt(100_000));
    if (kind === 1) return `${random.nextInt(1_000)}.${10 + random.nextInt(90)}`;
    const word = words[random.nextInt(words.length)]!;
    return kind === 2 ? word.toUpperCase() : word;
  }).join(" ");
}

export function drawingRandom(): Random {
  return seededRandom(seed);
}
