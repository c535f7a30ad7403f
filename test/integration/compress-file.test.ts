/** Compression of a plain file: what is written, that it goes on where it stopped, and what it refuses. */
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import type { CompressionReport } from "../../controller/report/compression-report.ts";
import { encodeNpy } from "../../shared/evaluation/npy.ts";
import { fleetfitCommand } from "../helpers/fleetfit-command.ts";
import { temporaryFolder } from "../helpers/test-controller.ts";
import { tinyGolden, tinyInterface, tinyModelBytes } from "../helpers/tiny-classifier.ts";

const { folder, remove } = temporaryFolder();
const model = join(folder, "tiny.onnx");
const interfaceFile = join(folder, "tiny.yaml");
const manifest = join(folder, "golden.json");

beforeAll(() => {
  for (const [name, bytes] of Object.entries(tinyGolden()))
    writeFileSync(join(folder, name), bytes);
  writeFileSync(model, tinyModelBytes());
  writeFileSync(interfaceFile, stringify(tinyInterface));
});
afterAll(remove);

async function compress(out: string, ...flags: string[]) {
  return fleetfitCommand([
    ...["compress", model, "--interface", interfaceFile, "--out", join(folder, out)],
    ...["--recipe", "fp16", "--recipe", "int8-static", "--no-measure", "--json", ...flags],
  ]);
}

const made = (out: string, name: string) => join(folder, out, "int8-static", name);

describe("a plain file", () => {
  let report: CompressionReport;
  beforeAll(async () => {
    const { exitCode, out, err } = await compress("one", "--golden", manifest);
    expect(exitCode, err).toBe(0);
    report = JSON.parse(out);
  });

  it("becomes one variant per recipe, with a report for programs and for people", () => {
    expect(report.variants.map(({ recipe, status }) => [recipe, status])).toEqual([
      ["fp16", "ready"],
      ["int8-static", "ready"],
    ]);
    const figures = report.variants[1]!.figures!;
    expect(figures.bytes).toBe(statSync(made("one", "model.onnx")).size);
    expect(figures.fusion).toMatchObject({ floatNodes: 0 });
    expect(figures.journal.map(({ pass }) => pass)).toContain("quantize-static");
    expect(figures.sealed.n).toBeGreaterThan(0);
    expect(JSON.parse(readFileSync(join(folder, "one", "report.json"), "utf8"))).toEqual(report);
    const page = readFileSync(join(folder, "one", "report.html"), "utf8");
    for (const { recipe } of report.variants) expect(page).toContain(recipe);
    expect(page).toContain("<svg");
    expect(page).not.toMatch(/<script|https?:\/\//);
  });

  it("is made again into the same bytes from what the bundle records", async () => {
    await compress("two", "--golden", manifest);
    for (const name of ["model.onnx", "bundle.json"]) {
      expect(readFileSync(made("two", name))).toEqual(readFileSync(made("one", name)));
    }
    const { provenance } = JSON.parse(readFileSync(made("one", "bundle.json"), "utf8"));
    expect(provenance).toMatchObject({ sourceSha256: report.source.sha256, recipe: "int8-static" });
    expect(provenance.runtime).toBe(report.machine.runtime);
    expect(provenance.cpuFlags).toEqual(report.machine.cpuFlags);
  });

  it("goes on where it stopped: what is whole stays, what is not is made again", async () => {
    const before = statSync(made("one", "model.onnx")).mtimeMs;
    const half = join(folder, "one", "fp16", "model.onnx");
    const whole = readFileSync(half);
    writeFileSync(half, whole.subarray(0, 100));
    const { err } = await compress("one", "--golden", manifest);
    expect(err).toContain("fp16");
    expect(err).not.toContain("int8-static: ");
    expect(statSync(made("one", "model.onnx")).mtimeMs).toBe(before);
    expect(readFileSync(half)).toEqual(whole);
  });
});

/** A device where each product takes a nanosecond, and each element as well. */
function costsFile(name: string, change: object = {}): string {
  const entries = (["float32", "int8"] as const).flatMap((type) => [
    ...[56, 62, 64].map((channels) => ({
      ...{ operator: "conv-3x3", type, channels, pixels: 1 },
      timeNs: 9 * channels ** 2,
    })),
    { operator: "gemm", type, channels: 64, pixels: 1, timeNs: 64 ** 2 },
    { operator: "add", type, channels: 16, pixels: 1, timeNs: 16 },
  ]);
  const measured = {
    ...{ device: "camera-1", fingerprint: "f", emulated: true, degraded: false, measuredAtMs: 1 },
    table: { entries },
  };
  const processor = { architecture: "x64", isa: ["avx2"], cpuModel: "some" };
  const costs = { device: "camera-1", processor, pending: false, failure: null, measured };
  const path = join(folder, name);
  writeFileSync(path, JSON.stringify({ ...costs, steps: null, ...change }));
  return path;
}

describe("the cost table of a device", () => {
  it("foretells times on it beside what is measured here, and says that they are foretold", async () => {
    const flags = ["--golden", manifest, "--cost-table", costsFile("costs.json")];
    const { exitCode, out, err } = await compress("three", ...flags);
    expect(exitCode, err).toBe(0);
    const report = JSON.parse(out) as CompressionReport;
    expect(report.foretoldOn).toEqual({ device: "camera-1", emulated: true, degraded: false });
    const [fp16, int8] = report.variants.map(({ foretoldTime }) => foretoldTime!);
    // Conv: 64 pixels, 9 places, 1 input, 8 outputs, counted as a block of 16; pooling; products to 4.
    expect(int8!.notCovered).toEqual(["1 QuantizeLinear"]);
    expect(int8!.timeMs).toBeGreaterThan(0);
    expect(fp16!.timeMs * 1e6).toBeGreaterThan(64 * 9 * 8);
    const page = readFileSync(join(folder, "three", "report.html"), "utf8");
    expect(page).toContain("foretold on camera-1");
    expect(page).toContain("nothing ran there");
  });

  it("is refused when it is something else", async () => {
    const foreign = costsFile("foreign.json", {
      processor: { architecture: "mips", isa: [], cpuModel: "some" },
    });
    const empty = costsFile("empty.json", { measured: null });
    for (const path of [foreign, empty, manifest]) {
      const { err } = await compress("none", "--golden", manifest, "--cost-table", path);
      expect(err).toContain("input-invalid");
      expect(err).toContain("is no cost table");
    }
  });
});

describe("refuses, with a code and what to do", () => {
  it("a file without a golden set", async () => {
    const { exitCode, err } = await compress("none");
    expect(exitCode).toBe(1);
    expect(err).toContain("input-invalid");
    expect(err).toContain("--golden");
  });

  it("an empty golden set, and labels beyond the classes", async () => {
    const broken = join(folder, "broken");
    mkdirSync(broken);
    const files = tinyGolden();
    const write = (names: Record<string, Uint8Array | string>) => {
      for (const [name, bytes] of Object.entries({ ...files, ...names }))
        writeFileSync(join(broken, name), bytes);
    };
    write({ "x.npy": encodeNpy({ dtype: "uint8", shape: [0, 8, 8], data: new Uint8Array() }) });
    const empty = await compress("none", "--golden", join(broken, "golden.json"));
    expect(empty.err).toContain("golden-invalid");
    const count = 300;
    const data = new Uint8Array(count).fill(9);
    write({
      "x.npy": encodeNpy({
        dtype: "uint8",
        shape: [count, 8, 8],
        data: new Uint8Array(count * 64),
      }),
      "labels.npy": encodeNpy({ dtype: "uint8", shape: [count], data }),
    });
    const beyond = await compress("none", "--golden", join(broken, "golden.json"));
    expect(beyond.err).toContain("golden-mismatch");
    expect(beyond.err).toContain("label 9");
  });

  it("an unknown recipe and an unknown class", async () => {
    const recipe = await compress("none", "--golden", manifest, "--recipe", "magic");
    expect(recipe.err).toContain("there is no recipe magic");
    const name = await compress("none", "--golden", manifest, "--class", "toaster");
    expect(name.err).toContain("there is no class toaster");
  });
});
