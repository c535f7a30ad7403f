/** The split decides which figures may be believed, so that no trained image is in the pool. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  defaultPoolCount,
  goldenPool,
  writeGoldenPool,
} from "../../../scripts/data/golden-pool.ts";
import {
  imageBytes,
  loadMnist,
  parseIdx,
  takeDigits,
  trainingCount,
  trainingIndices,
  unusedIndices,
} from "../../../scripts/data/mnist.ts";
import { isFleetError } from "../../../shared/errors.ts";
import {
  buildGoldenSet,
  goldenFileNames,
  parseGoldenManifest,
} from "../../../shared/evaluation/golden-set.ts";
import { readAll } from "../../../shared/ports/byte-source.ts";

const mnist = loadMnist();

/** Keys of the images of a set, for membership tests. */
function keys(images: Uint8Array): Set<string> {
  const found = new Set<string>();
  for (let at = 0; at < images.length; at += imageBytes) {
    found.add(Buffer.from(images.subarray(at, at + imageBytes)).toString("latin1"));
  }
  return found;
}

describe("loadMnist", () => {
  it("reads the published counts and labels", () => {
    expect([mnist.train.count, mnist.test.count]).toEqual([60_000, 10_000]);
    expect([...mnist.train.labels.subarray(0, 5)]).toEqual([5, 0, 4, 1, 9]);
    expect([...mnist.test.labels.subarray(0, 5)]).toEqual([7, 2, 1, 0, 4]);
    expect(mnist.train.images.length).toBe(60_000 * imageBytes);
  });

  it("refuses short files and wrong headers with a code", () => {
    const good = Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 2, 3, 4);
    expect([...parseIdx(good, [2], "good")]).toEqual([3, 4]);
    for (const bad of [good.subarray(0, 9), Uint8Array.of(0, 0, 8, 3, 0, 0, 0, 2, 3, 4)]) {
      expect(() => parseIdx(bad, [2], "bad")).toThrow(
        expect.toSatisfy((error) => isFleetError(error, "golden-invalid")),
      );
    }
  });
});

describe("the split", () => {
  it("uses every train image once", () => {
    const all = new Set([...trainingIndices(), ...unusedIndices()]);
    expect(trainingIndices().length).toBe(trainingCount);
    expect(all.size).toBe(60_000);
  });

  it("keeps trained images out of the pool, also as copies", () => {
    const pool = goldenPool(mnist);
    expect(pool.count).toBe(defaultPoolCount);
    const trained = keys(takeDigits(mnist.train, trainingIndices()).images);
    const pooled = keys(pool.images);
    expect(pooled.size).toBe(defaultPoolCount);
    expect([...pooled].filter((key) => trained.has(key)).length).toBe(0);
  });

  it("makes a smaller pool a prefix of a larger one", () => {
    const small = goldenPool(mnist, 100);
    const large = goldenPool(mnist, 300);
    expect(large.labels.subarray(0, 100)).toEqual(small.labels);
    expect(large.images.subarray(0, 100 * imageBytes)).toEqual(small.images);
  });
});

describe("writeGoldenPool", () => {
  it("writes a golden set that reads back as the pool", () => {
    const folder = mkdtempSync(join(tmpdir(), "golden-pool-"));
    try {
      const pool = goldenPool(mnist, 10);
      const regions = {
        names: ["north", "south"],
        index: Uint8Array.from({ length: 10 }, (_, i) => i % 2),
      };
      const written = writeGoldenPool(folder, pool, regions);
      expect(written.count).toBe(10);
      const manifest = parseGoldenManifest(readFileSync(written.manifestPath));
      const names = goldenFileNames(manifest);
      expect(names).toEqual(["images.npy", "labels.npy", "regions.npy"]);
      const files = new Map(names.map((name) => [name, readFileSync(join(folder, name))]));
      const set = buildGoldenSet(manifest, files);
      expect(set.metric).toBe("top-1");
      expect(set.inputs["image"]).toMatchObject({ dtype: "uint8", shape: [28, 28] });
      expect(Buffer.compare(readAll(set.inputs["image"]!.data), pool.images)).toBe(0);
      expect([...set.labels]).toEqual([...pool.labels]);
      expect([...set.regionSlice!.index]).toEqual([...regions.index]);
      const plain = writeGoldenPool(folder, pool);
      expect(parseGoldenManifest(readFileSync(plain.manifestPath)).slices).toBeUndefined();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
