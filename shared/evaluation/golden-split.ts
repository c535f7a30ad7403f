/**
 * Splits a pool, by seed, into parts that never share a sample: what calibrates, what variants are
 * chosen on, what floors are judged on (sealed), and shards for devices.
 */
import { FleetError } from "../errors.ts";
import { permutation, seededRandom } from "../prng.ts";

export interface GoldenSplit {
  readonly calibration: Uint32Array;
  readonly selection: Uint32Array;
  readonly sealed: Uint32Array;
  readonly shards: readonly Uint32Array[];
}

export interface SplitSizes {
  readonly calibration: number;
  readonly selection: number;
  readonly sealed: number;
  readonly shardSamples: number;
}

/** Samples of one shard: at 500 a device sees a drop of 5 points with power 0.92 (reference §2.1). */
export const shardSamplesDefault = 500;

/** Sizes for a pool of `count` samples: full sizes where they fit, shares of the pool where not. */
export function splitSizes(count: number): SplitSizes {
  const share = (fraction: number, most: number) => Math.min(most, Math.floor(count * fraction));
  return {
    calibration: share(0.1, 512),
    selection: share(0.2, 2_000),
    sealed: share(0.3, 5_000),
    shardSamples: share(0.4, shardSamplesDefault),
  };
}

/** Errors: `golden-invalid` when the pool is too small to leave one sample in each part. */
export function splitPool(
  count: number,
  seed: number,
  sizes: SplitSizes = splitSizes(count),
): GoldenSplit {
  if (Object.values(sizes).some((size) => size < 1)) {
    throw new FleetError(
      "golden-invalid",
      `a golden set of ${count} samples is too small: bring at least 10`,
    );
  }
  const order = Uint32Array.from(permutation(seededRandom(seed), count));
  let at = 0;
  const take = (size: number) => {
    const part = order.slice(at, at + size).sort();
    at += size;
    return part;
  };
  const calibration = take(sizes.calibration);
  const selection = take(sizes.selection);
  const sealed = take(sizes.sealed);
  const shards: Uint32Array[] = [];
  while (at + sizes.shardSamples <= count) shards.push(take(sizes.shardSamples));
  return { calibration, selection, sealed, shards };
}
