/**
 * CIFAR-10 images in the official binary layout: records of 3,073 bytes, `u8 label` and 32×32 R, G, B planes
 * (https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version").
 */
import fs from "node:fs";
import path from "node:path";
import { cacheFolder, peerPython, runDriver } from "../peers.ts";
import type { LabelledSamples } from "../subject.ts";
import { sharedBytes, sharedFile } from "./shared-files.ts";

const planeBytes = 32 * 32;
export const recordBytes = 1 + 3 * planeBytes;

/** How a model takes a byte of each colour: (byte / 255 − mean) / spread, or the byte itself. */
export interface CifarScaling {
  readonly scale: number;
  readonly mean: readonly [number, number, number];
  readonly spread: readonly [number, number, number];
}

export const plainBytes: CifarScaling = { scale: 1, mean: [0, 0, 0], spread: [1, 1, 1] };

/** The usual statistics of the training images. */
export const normalised: CifarScaling = {
  scale: 1 / 255,
  mean: [0.4914, 0.4822, 0.4465],
  spread: [0.2023, 0.1994, 0.201],
};

const packs = { test: "cifar10-test-jpeg", train: "cifar10-train-jpeg" } as const;
const counts = { test: 10_000, train: 9_000 } as const;

/** The JPEG images of a part; float32 [10000 or 9000, 3, 32, 32]. */
export async function cifarJpeg(
  part: "test" | "train",
  scaling: CifarScaling,
  say: (line: string) => void,
): Promise<LabelledSamples> {
  return cifar(new Uint8Array(fs.readFileSync(await cifarJpegFile(part, say))), scaling);
}

/** The JPEG images of a part as records, decoded by Python's Pillow on the first run and kept. */
export async function cifarJpegFile(
  part: "test" | "train",
  say: (line: string) => void,
): Promise<string> {
  const count = counts[part];
  const target = path.join(cacheFolder, `cifar10-${part}-${count}.bin`);
  if (!fs.existsSync(target)) {
    const python = peerPython("onnxruntime", say);
    say(`decoding ${count} images`);
    const pack = sharedFile("data", packs[part], `${part}-${count}.jpgpack`);
    const job = { pack, target, count };
    const lines = runDriver({ python, driver: "decode.py", job, folder: cacheFolder });
    for await (const _ of lines) say("decoded");
  }
  return target;
}

/** The 300 test images with their original pixels; float32 [300, 3, 32, 32]. */
export function cifarLossless(scaling: CifarScaling): LabelledSamples {
  return cifar(sharedBytes("data", "cifar10-lossless-300", "cifar10-lossless-300.bin.gz"), scaling);
}

/** Records to planes of floats. Throws when the bytes are no whole records. */
export function cifar(records: Uint8Array, scaling: CifarScaling): LabelledSamples {
  const count = records.length / recordBytes;
  if (!Number.isInteger(count)) throw new Error(`${records.length} bytes are no CIFAR-10 records`);
  const data = new Float32Array(count * 3 * planeBytes);
  const labels = new Uint8Array(count);
  for (let image = 0; image < count; image++) {
    const start = image * recordBytes;
    labels[image] = records[start]!;
    for (let at = 0; at < 3 * planeBytes; at++) {
      const colour = Math.floor(at / planeBytes);
      const value = records[start + 1 + at]! * scaling.scale;
      data[image * 3 * planeBytes + at] = (value - scaling.mean[colour]!) / scaling.spread[colour]!;
    }
  }
  return { data, count, labels };
}
