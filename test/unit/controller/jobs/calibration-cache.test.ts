/** Calibration tables on disk: found again by what they were made from, and bounded in number. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import {
  type CalibrationInputs,
  calibrationCache,
} from "../../../../controller/jobs/calibration-cache.ts";
import { systemFiles } from "../../../../shared/adapters/system-files.ts";
import { bytesInMemory } from "../../../../shared/ports/byte-source.ts";
import { tinyInterface } from "../../../helpers/tiny-classifier.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "fleetfit-calibration-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const inputs: CalibrationInputs = {
  set: { poolSha256: "a".repeat(64) },
  indices: Uint32Array.of(1, 5, 9),
  interface: tinyInterface,
  assets: {},
  runtime: "1.30.0",
};
const open = (more: Partial<CalibrationInputs> = {}) =>
  calibrationCache(systemFiles(), join(folder, "tables"), { ...inputs, ...more });

it("gives back what was written, also to a later process", async () => {
  expect(await open().read("k")).toBeUndefined();
  await open().write("k", Uint8Array.of(1, 2, 3));
  expect(await open().read("k")).toEqual(Uint8Array.of(1, 2, 3));
});

it("tells other pools, samples, preparations and runtimes apart", () => {
  const [first] = tinyInterface.inputs;
  const others: Partial<CalibrationInputs>[] = [
    { set: { poolSha256: "b".repeat(64) } },
    { indices: Uint32Array.of(1, 5, 8) },
    { interface: { ...tinyInterface, inputs: [{ ...first!, steps: [] }] } },
    { assets: { "tokenizer.json": bytesInMemory(Uint8Array.of(1)) } },
    { assets: { "tokenizer.json": bytesInMemory(Uint8Array.of(2)) } },
    { runtime: "1.31.0" },
  ];
  const identities = [open(), ...others.map(open)].map(({ identity }) => identity);
  expect(new Set(identities).size).toBe(7);
  expect(open().identity).toBe(identities[0]);
});

it("holds no more than 256 tables, the newest among them", async () => {
  const cache = open();
  for (let at = 0; at < 260; at++) await cache.write(`k${at}`, Uint8Array.of(at & 255));
  const names = await readdir(join(folder, "tables"));
  expect(names).toHaveLength(256);
  expect(names).toContain("k259.cbor");
});
