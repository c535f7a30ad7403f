/**
 * Splits a pool, by seed, into parts that never share a sample: what calibrates, what variants are
 * chosen on, what floors are judged on (sealed), and shards for devices.
 */
import { FleetError } from "../errors.ts";
import { permutation, seededRandom } from "../prng.ts";
import { type MetricName, metricOf } from "./metrics/registry.ts";

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
  /** 0 for no shards. */
  readonly shardSamples: number;
}

/** Samples of one shard: at 500 a device sees a drop of 5 points with power 0.92 (reference §2.1). */
export const shardSamplesDefault = 500;

/** What of a golden set decides how it is split. */
export interface Pool {
  readonly count: number;
  readonly metric: MetricName;
}

/**
 * Sizes for a pool: full sizes where they fit, shares of the pool where not. Shards prove a bundle on
 * devices by what is true of them, so a set without labels or targets has none.
 */
export function splitSizes({ count, metric }: Pool): SplitSizes {
  const share = (fraction: number, most: number) => Math.min(most, Math.floor(count * fraction));
  const labelled = metricOf(metric) !== undefined;
  return {
    calibration: share(labelled ? 0.1 : 0.4, 512),
    selection: share(0.2, 2_000),
    sealed: share(labelled ? 0.3 : 0.4, 5_000),
    shardSamples: labelled ? share(0.4, shardSamplesDefault) : 0,
  };
}

/** Fewest samples that leave one in each part. */
const samplesMin = 10;

/** Errors: `golden-invalid` when the pool is too small. */
export function splitPool(
  pool: Pool,
  seed: number,
  sizes: SplitSizes = splitSizes(pool),
): GoldenSplit {
  const { count } = pool;
  if (count < samplesMin) {
    throw new FleetError(
      "golden-invalid",
      `a golden set of ${count} samples is too small: bring at least ${samplesMin}`,
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
  while (sizes.shardSamples > 0 && at + sizes.shardSamples <= count) {
    shards.push(take(sizes.shardSamples));
  }
  return { calibration, selection, sealed, shards };
}
