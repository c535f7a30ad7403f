/** Models in several files: joined bit by bit, and everything hostile that such a model may say. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readModelFile } from "../../../../controller/cli/model-file.ts";
import { makeGraph, makeNode } from "../../../../controller/onnx/build.ts";
import { embedExternalData } from "../../../../controller/onnx/external-data.ts";
import { decodeModel, encodeModel } from "../../../../controller/onnx/proto.ts";
import type { ModelProto, TensorProto } from "../../../../controller/onnx/schema.ts";
import { floatTensor } from "../../../../controller/onnx/tensor.ts";
import { floats, runOnce } from "../compress/run-model.ts";
import { convModel, randomValues } from "./sample-models.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "fleetfit-external-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const single = convModel();
type Entries = Readonly<Record<string, string>>;

/** The tensor with its data elsewhere. */
function external(tensor: TensorProto, entries: Entries): TensorProto {
  const { rawData: _data, ...rest } = tensor;
  const externalData = Object.entries(entries).map(([key, value]) => ({ key, value }));
  return { ...rest, dataLocation: 1, externalData };
}

/** The sample model whose initializers `edit` changes. */
function withInitializers(edit: (tensor: TensorProto, at: number) => TensorProto): ModelProto {
  const graph = single.graph!;
  return { ...single, graph: { ...graph, initializer: graph.initializer.map(edit) } };
}

/** Writes all weights into one file behind each other, as exporters do. */
function split(location = "weights.bin"): ModelProto {
  const parts: Uint8Array[] = [];
  let offset = 4096;
  const model = withInitializers((tensor) => {
    const data = tensor.rawData!;
    parts.push(data);
    const entries = { location, offset: `${offset}`, length: `${data.length}` };
    offset += data.length;
    return external(tensor, entries);
  });
  mkdirSync(join(folder, location, ".."), { recursive: true });
  writeFileSync(join(folder, location), Buffer.concat([new Uint8Array(4096), ...parts]));
  return model;
}

function write(model: ModelProto): string {
  const path = join(folder, "model.onnx");
  writeFileSync(path, encodeModel(model));
  return path;
}

/** The model whose first weight says this. */
const saying = (entries: Entries): string =>
  write(withInitializers((tensor, at) => (at === 0 ? external(tensor, entries) : tensor)));

describe("a model in several files", () => {
  it.each(["weights.bin", "parts/of/it.data", "./weights.bin"])(
    "is joined from %s and runs the same",
    async (location) => {
      const joined = readModelFile(write(split(location)));
      const feeds = new Map([["x", floats(randomValues(1, 192), [1, 3, 8, 8])]]);
      expect([...(await runOnce(joined, feeds))]).toEqual([
        ...(await runOnce(encodeModel(single), feeds)),
      ]);
      expect(decodeModel(joined).graph!.initializer).toMatchObject(
        single.graph!.initializer.map(({ name, rawData }) => ({ name, rawData })),
      );
    },
  );

  it("is left as it is when it is one file", () => {
    const path = write(single);
    expect(readModelFile(path)).toEqual(new Uint8Array(encodeModel(single)));
  });

  it("takes a whole file when neither offset nor length is said", () => {
    const data = single.graph!.initializer[0]!.rawData!;
    writeFileSync(join(folder, "w"), data);
    const joined = decodeModel(readModelFile(saying({ location: "w" })));
    expect(joined.graph!.initializer[0]!.rawData).toEqual(data);
  });

  it("finds tensors in attributes and in branches", () => {
    const tensor = external(floatTensor("", [2], [1, 2]), { location: "c" });
    const branch = makeGraph({
      nodes: [
        makeNode({
          opType: "Constant",
          inputs: [],
          outputs: ["k"],
          attributes: { value: { tensor } },
        }),
      ],
      inputs: [],
      outputs: [],
    });
    const node = makeNode({
      opType: "If",
      inputs: ["on"],
      outputs: ["y"],
      attributes: { then_branch: { graph: branch }, else_branch: { graph: branch } },
    });
    const model = { ...single, graph: { ...single.graph!, node: [node] } };
    const bytes = new Uint8Array(Float32Array.of(1, 2).buffer);
    const joined = embedExternalData(model, () => bytes);
    const inner = joined.graph!.node[0]!.attribute[0]!.g!.node[0]!.attribute[0]!.t!;
    expect(inner).toMatchObject({ rawData: bytes, externalData: [] });
    expect("dataLocation" in inner).toBe(false);
  });
});

describe("what a hostile model says", () => {
  const data = single.graph!.initializer[0]!.rawData!;
  const length = `${data.length}`;
  beforeEach(() => {
    writeFileSync(join(folder, "w"), data);
  });

  it.each([
    ["a path upwards", { location: "../w" }, "no file in the model's folder"],
    ["a path upwards inside", { location: "a/../../w" }, "no file in the model's folder"],
    ["an absolute path", { location: "/etc/passwd" }, "no file in the model's folder"],
    ["a path with backslashes", { location: "..\\w" }, "no file in the model's folder"],
    ["a path with a zero", { location: "w\0" }, "no file in the model's folder"],
    ["no path", { length }, "no file in the model's folder"],
    ["the folder itself", { location: "." }, "no file in the model's folder"],
    ["another length than the shape", { location: "w", length: "4" }, "names 4 bytes"],
    ["a negative offset", { location: "w", offset: "-1" }, 'offset "-1"'],
    ["an offset that is no number", { location: "w", offset: "0x10" }, 'offset "0x10"'],
    ["a length beyond 2^53", { location: "w", length: "9999999999999999" }, "length"],
  ] as [string, Entries, string][])("%s", (_name, entries, message) => {
    expect(() => readModelFile(saying(entries))).toThrow(
      expect.objectContaining({
        code: "onnx-malformed",
        message: expect.stringContaining(message),
      }),
    );
  });

  it("an offset behind the file's end", () => {
    expect(() => readModelFile(saying({ location: "w", offset: "1" }))).toThrow(
      expect.objectContaining({ code: "onnx-truncated" }),
    );
  });

  it("a file that is not there, a folder, and a link out of the folder", () => {
    const outside = mkdtempSync(join(tmpdir(), "fleetfit-outside-"));
    writeFileSync(join(outside, "w"), data);
    symlinkSync(join(outside, "w"), join(folder, "link"));
    symlinkSync(outside, join(folder, "linked"));
    mkdirSync(join(folder, "directory"));
    for (const location of ["missing", "directory", "link", "linked/w"]) {
      expect(() => readModelFile(saying({ location })), location).toThrow(
        expect.objectContaining({ code: "file-unusable" }),
      );
    }
    rmSync(outside, { recursive: true });
  });

  it("more than fits into one file, before any of it is read", () => {
    const model = split();
    const read = () => {
      throw new Error("it was read");
    };
    expect(() => embedExternalData(model, read, 500)).toThrow(
      expect.objectContaining({ code: "onnx-too-large" }),
    );
    expect(() => encodeModel(single, 500)).toThrow(
      expect.objectContaining({ code: "onnx-too-large" }),
    );
  });
});
