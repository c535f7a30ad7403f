/** Files named by their hash, on a real file system. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type BlobStore, blobStore } from "../../../../controller/blobs/blob-store.ts";
import { systemFiles } from "../../../../shared/adapters/system-files.ts";
import { sha256Hex } from "../../../../shared/artifact/hash.ts";

const bytes = Uint8Array.from({ length: 1000 }, (_, at) => at % 251);
const sha256 = sha256Hex(bytes);

let folder: string;
let blobs: BlobStore;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "fleetfit-blobs-"));
  blobs = blobStore(systemFiles(), folder);
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Names of all files, also of those on their way. */
const names = () =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => name);

async function* parts(size: number): AsyncIterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

it("reads back what was put, whole and in parts", async () => {
  expect(await blobs.put(bytes)).toBe(sha256);
  expect(await blobs.size(sha256)).toBe(1000);
  expect(await blobs.read(sha256)).toEqual(bytes);
  expect(await blobs.readRange(sha256, { offset: 990, length: 100 })).toEqual(bytes.subarray(990));
});

it("stores equal bytes once, also when two writers meet", async () => {
  await Promise.all([blobs.put(bytes), blobs.put(bytes), blobs.put(bytes)]);
  await blobs.put(bytes);
  expect(names()).toEqual([sha256]);
});

it("stores a stream under the hash that was announced", async () => {
  const expected = { sha256, bytesMax: 1000 };
  expect(await blobs.putStream(parts(64), expected)).toBe(1000);
  expect(await blobs.read(sha256)).toEqual(bytes);
});

it("two uploads of one file do not disturb each other", async () => {
  const expected = { sha256, bytesMax: 1000 };
  await Promise.all([blobs.putStream(parts(64), expected), blobs.putStream(parts(10), expected)]);
  expect(names()).toEqual([sha256]);
});

it.each([
  ["too long", "too-large", { sha256, bytesMax: 999 }],
  ["another file", "artifact-mismatch", { sha256: "0".repeat(64), bytesMax: 1000 }],
])("a stream that is %s leaves nothing behind", async (_, code, expected) => {
  await expect(blobs.putStream(parts(64), expected)).rejects.toMatchObject({ code });
  expect(names()).toEqual([]);
});

it("says what is missing and what is too long to read", async () => {
  await expect(blobs.read(sha256)).rejects.toMatchObject({ code: "artifact-missing" });
  await blobs.put(bytes);
  await expect(blobs.read(sha256, { maxBytes: 10 })).rejects.toMatchObject({ code: "too-large" });
});
