/**
 * The golden pool of the demo: labelled digits that no training saw, as a golden set folder.
 *
 * The pool mixes the 10,000 images of the test part with unused images of the train part in one
 * seeded order, so every prefix is a fair sample and a smaller pool is a prefix of a larger one.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assert } from "../../shared/assert.ts";
import type { GoldenManifest } from "../../shared/evaluation/golden-set.ts";
import { encodeNpy } from "../../shared/evaluation/npy.ts";
import { permutation, seededRandom } from "../../shared/prng.ts";
import { type DigitSet, imageSide, type Mnist, takeDigits, unusedIndices } from "./mnist.ts";

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

/** The region that each image is taken to come from, to slice accuracy by. */
export interface PoolRegions {
  readonly names: readonly string[];
  /** uint8 [count]: a place in `names` for each image. */
  readonly index: Uint8Array;
}

/** A golden set folder that was written. */
export interface WrittenPool {
  readonly manifestPath: string;
  readonly count: number;
}

/**
 * Writes the pool into `folder` (made if missing): golden.json, images.npy uint8 [count, 28, 28],
 * labels.npy uint8 [count] and, with regions, regions.npy uint8 [count].
 */
export function writeGoldenPool(
  folder: string,
  pool: DigitSet,
  regions?: PoolRegions,
): WrittenPool {
  mkdirSync(folder, { recursive: true });
  const write = (file: string, data: Uint8Array, shape: readonly number[]): { file: string } => {
    assert(data.length === shape.reduce((product, size) => product * size, 1), `${file} is short`);
    writeFileSync(join(folder, file), encodeNpy({ dtype: "uint8", shape, data }));
    return { file };
  };
  const manifest: GoldenManifest = {
    format: "fleetfit-golden/1",
    name: "handwritten digits",
    inputs: { image: write("images.npy", pool.images, [pool.count, imageSide, imageSide]) },
    labels: write("labels.npy", pool.labels, [pool.count]),
    metric: { name: "top-1" },
    ...(regions === undefined
      ? {}
      : {
          slices: {
            region: {
              ...write("regions.npy", regions.index, [pool.count]),
              names: [...regions.names],
            },
          },
        }),
  };
  const manifestPath = join(folder, "golden.json");
  writeFileSync(manifestPath, `${JSON.stringify(manifest, null, 2)}\n`);
  return { manifestPath, count: pool.count };
}

function concatenate(first: Uint8Array, second: Uint8Array): Uint8Array {
  const joined = new Uint8Array(first.length + second.length);
  joined.set(first);
  joined.set(second, first.length);
  return joined;
}
