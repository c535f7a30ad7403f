/** Golden sets: arrays in and out, bad files refused, parts of a split that never meet. */
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deflateRawSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { fileBytes } from "../../../shared/adapters/file-bytes.ts";
import {
  buildGoldenSet,
  parseGoldenManifest,
  takeSamples,
} from "../../../shared/evaluation/golden-set.ts";
import { decodeShard, encodeShard } from "../../../shared/evaluation/golden-shard.ts";
import { splitPool } from "../../../shared/evaluation/golden-split.ts";
import { decodeNpy, encodeNpy } from "../../../shared/evaluation/npy.ts";
import { readNpzEntry } from "../../../shared/evaluation/npz.ts";
import type { ByteSource } from "../../../shared/ports/byte-source.ts";

const bad = expect.objectContaining({ code: "golden-invalid" });
const array = { dtype: "uint8" as const, shape: [3, 2], data: new Uint8Array([1, 2, 3, 4, 5, 6]) };
const labels = encodeNpy({
  dtype: "int64",
  shape: [3],
  data: new Uint8Array(new BigInt64Array([0n, 1n, 2n]).buffer),
});
const manifest = (change: object = {}) =>
  new TextEncoder().encode(
    JSON.stringify({
      format: "fleetfit-golden/1",
      name: "tiny",
      inputs: { x: { file: "x.npy" } },
      labels: { file: "labels.npy" },
      metric: { name: "top-1" },
      ...change,
    }),
  );
const files = (change: Record<string, Uint8Array> = {}) =>
  new Map(Object.entries({ "x.npy": encodeNpy(array), "labels.npy": labels, ...change }));

describe("arrays", () => {
  it("are read as they were written, as NumPy lays them out", () => {
    const bytes = encodeNpy(array);
    expect(decodeNpy(bytes, "x")).toEqual(array);
    expect((bytes.byteLength - 6) % 64).toBe(0);
  });
  it.each([
    ["cut", (bytes: Uint8Array) => bytes.slice(0, -1)],
    ["empty", () => new Uint8Array()],
    ["of another format", (bytes: Uint8Array) => bytes.map((byte, at) => (at === 1 ? 0 : byte))],
  ])("that are %s are refused", (_what, damage) => {
    expect(() => decodeNpy(damage(encodeNpy(array)), "x")).toThrow(bad);
  });
  it("come out of an archive, deflated or not, within the limit", () => {
    const archive = zipOf("x.npy", encodeNpy(array));
    expect(decodeNpy(readNpzEntry(archive, "x", 1_000), "x")).toEqual(array);
    expect(() => readNpzEntry(archive, "y", 1_000)).toThrow(bad);
    expect(() => readNpzEntry(archive, "x", 10)).toThrow(bad);
    expect(() => readNpzEntry(archive.slice(10), "x", 1_000)).toThrow(bad);
  });
});

describe("a golden set", () => {
  it("is named by its content", () => {
    const set = buildGoldenSet(parseGoldenManifest(manifest()), files());
    expect(set).toMatchObject({ count: 3, metric: "top-1" });
    const other = buildGoldenSet(parseGoldenManifest(manifest({ name: "renamed" })), files());
    expect(other.poolSha256).toBe(set.poolSha256);
    const changed = encodeNpy({ ...array, data: new Uint8Array([1, 2, 3, 4, 5, 7]) });
    const third = buildGoldenSet(parseGoldenManifest(manifest()), files({ "x.npy": changed }));
    expect(third.poolSha256).not.toBe(set.poolSha256);
  });
  it("is the same when its samples stay in their file", async () => {
    const folder = await mkdtemp(join(tmpdir(), "fleetfit-golden-"));
    try {
      const parsed = parseGoldenManifest(manifest());
      const whole = buildGoldenSet(parsed, files());
      const opened = new Map<string, ByteSource>();
      for (const [name, bytes] of files()) {
        await writeFile(join(folder, name), bytes);
        opened.set(name, fileBytes(join(folder, name)));
      }
      const streamed = buildGoldenSet(parsed, opened);
      expect(streamed.poolSha256).toBe(whole.poolSha256);
      expect(streamed.labels).toEqual(whole.labels);
      expect(takeSamples(streamed, [2, 0])).toEqual(takeSamples(whole, [2, 0]));
      await truncate(join(folder, "x.npy"), 130);
      expect(() => takeSamples(streamed, [2])).toThrow(
        expect.objectContaining({ code: "file-unusable" }),
      );
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
  it.each([
    ["names a file outside its folder", { inputs: { x: { file: "../x.npy" } } }],
    ["has no labels for top-1", { labels: undefined }],
    ["has an unknown metric", { metric: { name: "luck" } }],
    ["has an unknown field", { extra: 1 }],
  ])("that %s is refused", (_what, change) => {
    expect(() => parseGoldenManifest(manifest(change))).toThrow(bad);
  });
  it("with labels for other samples is refused", () => {
    const two = encodeNpy({ dtype: "uint8", shape: [2], data: new Uint8Array(2) });
    const parsed = parseGoldenManifest(manifest());
    expect(() => buildGoldenSet(parsed, files({ "labels.npy": two }))).toThrow(bad);
    expect(() => buildGoldenSet(parsed, new Map())).toThrow(bad);
  });
});

describe("a split", () => {
  it("uses no sample twice, and is the same for the same seed", () => {
    const split = splitPool({ count: 7_000, metric: "top-1" }, 4);
    const all = [split.calibration, split.selection, split.sealed, ...split.shards].flatMap(
      (part) => [...part],
    );
    expect(new Set(all).size).toBe(all.length);
    expect(splitPool({ count: 7_000, metric: "top-1" }, 4)).toEqual(split);
    expect(splitPool({ count: 7_000, metric: "top-1" }, 5).sealed).not.toEqual(split.sealed);
  });
  it("of too few samples is refused", () => {
    expect(() => splitPool({ count: 5, metric: "top-1" }, 1)).toThrow(bad);
  });
  it("makes shards that carry their samples", () => {
    const set = buildGoldenSet(parseGoldenManifest(manifest()), files());
    const shard = decodeShard(encodeShard(set, new Uint32Array([2, 0]), 1));
    expect(shard).toMatchObject({ shardIndex: 1, sampleIds: [2, 0], labels: [2, 0] });
    expect(shard.inputs["x"]?.data).toEqual(new Uint8Array([5, 6, 1, 2]));
  });
});

/** A ZIP archive of one deflated file, as NumPy's savez_compressed writes it. */
function zipOf(name: string, content: Uint8Array): Uint8Array {
  const packed = deflateRawSync(content);
  const nameBytes = Buffer.from(name);
  const local = Buffer.alloc(30);
  local.writeUInt32LE(0x04034b50, 0);
  local.writeUInt16LE(8, 8);
  local.writeUInt16LE(nameBytes.length, 26);
  const entry = Buffer.alloc(46);
  entry.writeUInt32LE(0x02014b50, 0);
  entry.writeUInt16LE(8, 10);
  entry.writeUInt32LE(packed.length, 20);
  entry.writeUInt32LE(content.length, 24);
  entry.writeUInt16LE(nameBytes.length, 28);
  const end = Buffer.alloc(22);
  const start = local.length + nameBytes.length + packed.length;
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(start, 16);
  return new Uint8Array(Buffer.concat([local, nameBytes, packed, entry, nameBytes, end]));
}
