/**
 * Training batches of digits: normalised floats and target distributions, written into memory that
 * is used again for every batch.
 */
import type { FloatTensor } from "../../../controller/train/trainer.ts";
import { permutation, type Random } from "../../../shared/prng.ts";
import { type DigitSet, digitClasses, imageBytes, imageSide } from "../../data/mnist.ts";

export interface BatchOptions {
  readonly batchSize: number;
  /** Images are moved by up to this many pixels both ways, as a hand would; 0 leaves them. */
  readonly shiftPixels: number;
  readonly random: Random;
}

/** The network's input for a pixel: 0 … 1. The bundle's pre-processing does the same. */
export const pixelScale = 1 / 255;

/**
 * Yields the batches of one epoch in a new random order; a rest smaller than a batch is left out.
 * Feeds: `image` [N, 1, 28, 28], `target` [N, 10]. Each batch is valid until the next is asked for.
 */
export function* epochBatches(
  digits: DigitSet,
  options: BatchOptions,
): Generator<ReadonlyMap<string, FloatTensor>> {
  const { batchSize, random, shiftPixels } = options;
  const image = new Float32Array(batchSize * imageBytes);
  const target = new Float32Array(batchSize * digitClasses);
  const feeds = new Map<string, FloatTensor>([
    ["image", { data: image, shape: [batchSize, 1, imageSide, imageSide] }],
    ["target", { data: target, shape: [batchSize, digitClasses] }],
  ]);
  const order = permutation(random, digits.count);
  for (let start = 0; start + batchSize <= order.length; start += batchSize) {
    target.fill(0);
    for (let slot = 0; slot < batchSize; slot++) {
      const index = order[start + slot]!;
      const pixels = digits.images.subarray(index * imageBytes, (index + 1) * imageBytes);
      const into = image.subarray(slot * imageBytes, (slot + 1) * imageBytes);
      const shift = (): number => random.nextInt(2 * shiftPixels + 1) - shiftPixels;
      copyShifted(pixels, into, shift(), shift());
      target[slot * digitClasses + digits.labels[index]!] = 1;
    }
    yield feeds;
  }
}

/** Writes the normalised image moved by (dy, dx); what comes in from outside is paper. */
function copyShifted(from: Uint8Array, into: Float32Array, dy: number, dx: number): void {
  into.fill(0);
  const firstRow = Math.max(0, dy);
  const lastRow = Math.min(imageSide, imageSide + dy);
  const firstColumn = Math.max(0, dx);
  const lastColumn = Math.min(imageSide, imageSide + dx);
  for (let row = firstRow; row < lastRow; row++) {
    const source = (row - dy) * imageSide - dx;
    const destination = row * imageSide;
    for (let column = firstColumn; column < lastColumn; column++) {
      into[destination + column] = from[source + column]! * pixelScale;
    }
  }
}
