/**
 * The golden pool of the demo: labelled digits that no training saw, as a golden set folder.
 *
 * The pool mixes the 10,000 images of the test part with unused images of the train part in one
 * seeded order, so every prefix is a fair sample and a smaller pool is a prefix of a larger one.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assert } from "../../shared/assert.ts";
import { permutation, seededRandom } from "../../shared/prng.ts";
import { type DigitSet, imageSide, type Mnist, takeDigits, unusedIndices } from "./mnist.ts";
import { encodeNpyUint8 } from "./npy.ts";

/** 10,000 test images and 20,000 unused train images. */
export const defaultPoolCount = 30_000;
const poolSeed = 20_260_102;
/** Train images of a pool, at its full size; the rest of the unused ones stay unseen. */
const unusedTaken = 20_000;

/** The first `count` (at most 30,000) images of the pool. */
export function goldenPool(mnist: Mnist, count: number = defaultPoolCount): DigitSet {
  const unused = takeDigits(mnist.train, unusedIndices().subarray(0, unusedTaken));
  const together = {
    images: concatenate(mnist.test.images, unused.images),
    labels: concatenate(mnist.test.labels, unused.labels),
    count: mnist.test.count + unused.count,
  };
  assert(count >= 1 && count <= together.count, `the pool holds 1 … ${together.count} images`);
  const order = permutation(seededRandom(poolSeed), together.count);
  return takeDigits(together, order.subarray(0, count));
}

/** Writes the pool into `folder` (made if missing): images.npy, labels.npy. */
export function writeGoldenPool(folder: string, pool: DigitSet): void {
  mkdirSync(folder, { recursive: true });
  const shape = [pool.count, imageSide, imageSide];
  writeFileSync(join(folder, "images.npy"), encodeNpyUint8(pool.images, shape));
  writeFileSync(join(folder, "labels.npy"), encodeNpyUint8(pool.labels, [pool.count]));
}

function concatenate(first: Uint8Array, second: Uint8Array): Uint8Array {
  const joined = new Uint8Array(first.length + second.length);
  joined.set(first);
  joined.set(second, first.length);
  return joined;
}
