/** The split of a pool: disjoint parts, repeated exactly, with shards only where labels prove something. */
import { expect, it } from "vitest";
import { splitPool } from "../../../../shared/evaluation/golden-split.ts";

it("never uses a sample in two parts", () => {
  const { calibration, selection, sealed, shards } = splitPool(
    { count: 3_000, metric: "top-1" },
    7,
  );
  const all = [calibration, selection, sealed, ...shards].flatMap((part) => [...part]);
  expect(new Set(all).size).toBe(all.length);
  expect(shards.length).toBeGreaterThanOrEqual(2);
  expect(shards.every((shard) => shard.length === 500)).toBe(true);
});

it("gives the same parts for the same seed and others for another", () => {
  const pool = { count: 200, metric: "top-1" } as const;
  expect(splitPool(pool, 1)).toEqual(splitPool(pool, 1));
  expect(splitPool(pool, 1).sealed).not.toEqual(splitPool(pool, 2).sealed);
});

it("makes no shards without labels and gives their samples to the other parts", () => {
  const { calibration, selection, sealed, shards } = splitPool(
    { count: 10, metric: "agreement" },
    1,
  );
  expect([calibration.length, selection.length, sealed.length, shards.length]).toEqual([
    4, 2, 4, 0,
  ]);
});

it("refuses a pool that cannot be split", () => {
  expect(() => splitPool({ count: 9, metric: "top-1" }, 1)).toThrow(/too small/);
});
