/** Many samples in one call of the runtime: the same numbers as one by one, whatever the samples look like. */
import { describe, expect, it } from "vitest";
import { samplesSource } from "../../../../controller/compress/calibration/samples-source.ts";
import {
  runScan,
  type ScanModel,
  scanModel,
} from "../../../../controller/compress/calibration/scan-model.ts";
import type {
  Feeds,
  Outputs,
  TensorValue,
  Workbench,
} from "../../../../controller/compress/execute.ts";
import { makeGraph, makeModel, makeValueInfo } from "../../../../controller/onnx/build.ts";
import { Model } from "../../../../controller/onnx/model.ts";
import { floatTensor } from "../../../../controller/onnx/tensor.ts";
import { type ErrorCode, FleetError } from "../../../../shared/errors.ts";
import { parityFeeds, parityNet } from "./parity-net.ts";
import { floats, loadModel, workbenchOf } from "./run-model.ts";
import { buildModel, node } from "./sample-nets.ts";

const scanOf = (model: Model): ScanModel => scanModel(model.encode())!;

/** What samples yield one by one, and at once. */
async function both(model: Model, samples: readonly Feeds[]) {
  const scan = scanOf(model);
  const [plain, scanned] = [await loadModel(model.encode()), await loadModel(scan.modelBytes)];
  const alone: Outputs[] = [];
  for (const feeds of samples) alone.push(await plain.run(feeds));
  const together = await runScan(scanned, scan, samples);
  await Promise.all([plain.close(), scanned.close()]);
  return { alone, together };
}

/** y = (x + times) · 2 where times is int64, at opset 13. */
function twoInputs(): Model {
  return Model.fromProto(
    makeModel({
      opset: 13,
      graph: makeGraph({
        nodes: [
          node("Cast", ["times"], ["t"], { to: { int: 1 } }),
          node("Add", ["x", "t"], ["s"]),
          node("Mul", ["s", "two"], ["y"]),
        ],
        inputs: [makeValueInfo("x", "float32", ["n"]), makeValueInfo("times", "int64", [1])],
        outputs: [makeValueInfo("y", "float32")],
        initializers: [floatTensor("two", [], [2])],
      }),
    }),
  );
}

/** y is x or −x, by the sign of its sum; both branches read a value and a weight of the graph around. */
function branching(): Model {
  const branch = (opType: string) =>
    makeGraph({
      nodes: [node(opType, ["x"], ["signed"]), node("Mul", ["signed", "w"], ["chosen"])],
      inputs: [],
      outputs: [makeValueInfo("chosen", "float32")],
    });
  return buildModel({
    opset: 13,
    inputShape: [1, 3],
    nodes: [
      node("ReduceSum", ["x"], ["sum"], { keepdims: { int: 0 } }),
      node("Greater", ["sum", "zero"], ["isPositive"]),
      node("If", ["isPositive"], ["y"], {
        then_branch: { graph: branch("Identity") },
        else_branch: { graph: branch("Neg") },
      }),
    ],
    initializers: [floatTensor("w", [3], [1, 2, 3]), floatTensor("zero", [], [0])],
  });
}

describe("samples at once", () => {
  it("give the bits that each gives alone", async () => {
    const { alone, together } = await both(parityNet(), [1, 2, 3, 4, 5].map(parityFeeds));
    expect(together).toEqual(alone);
  });

  it("take each its own branch", async () => {
    const samples = [1, -1, 2].map(
      (sign): Feeds => new Map([["x", floats(Float32Array.of(sign, 2 * sign, 3), [1, 3])]]),
    );
    const { alone, together } = await both(branching(), samples);
    expect(together).toEqual(alone);
  });

  it("may be of other lengths, types of inputs, and without the batch axis that they have", async () => {
    const sample = (values: readonly number[], times: bigint): Feeds =>
      new Map<string, TensorValue>([
        ["times", { type: "int64", shape: [1], data: BigInt64Array.of(times) }],
        ["x", floats(Float32Array.from(values), [values.length])],
      ]);
    const same = [sample([1, 2], 3n), sample([3, 4], 5n)];
    const other = [...same, sample([1, 2, 3], 1n)];
    for (const samples of [same, other]) {
      const { alone, together } = await both(twoInputs(), samples);
      expect(together).toEqual(alone);
    }
    const scan = scanOf(twoInputs());
    const scanned = await loadModel(scan.modelBytes);
    const withBatch = same.map(
      (feeds): Feeds => new Map([...feeds, ["x", { ...feeds.get("x")!, shape: [1, 2] }]]),
    );
    const found = await runScan(scanned, scan, withBatch);
    await scanned.close();
    expect(found.map((outputs) => [...(outputs.get("y")!.data as Float32Array)])).toEqual([
      [8, 10],
      [16, 18],
    ]);
  });

  it("hold no memory of each other", async () => {
    const { together } = await both(parityNet(), [1, 2].map(parityFeeds));
    const [one, two] = together.map((outputs) => outputs.get("y")!.data.buffer);
    expect(one).not.toBe(two);
  });
});

describe("a model is run as it is", () => {
  it("when no Scan can hold it", () => {
    const old = twoInputs().toProto();
    expect(scanModel(Model.fromProto({ ...old, opsetImport: [{ version: 8n }] }).encode())).toBe(
      undefined,
    );
    const untyped = { ...old.graph!, output: [{ name: "y", metadataProps: [] }] };
    expect(scanModel(Model.fromProto({ ...old, graph: untyped }).encode())).toBe(undefined);
  });

  it("when the runtime refuses the Scan, and only then", async () => {
    const model = parityNet();
    const task = { modelBytes: model.encode(), outputs: [{ output: "y", tensors: ["y"] }] };
    const calibration = () => [1, 2, 3].map(parityFeeds);
    const refusing = (code: ErrorCode): Workbench => ({
      ...workbenchOf(calibration),
      async load(bytes, optimization) {
        if (Buffer.from(bytes).includes("Scan")) throw new FleetError(code, "refused");
        return loadModel(bytes, optimization);
      },
    });
    const expected = await samplesSource({
      workbench: workbenchOf(calibration),
      graph: model.graph,
    }).extremes(task);
    const from = (code: ErrorCode) =>
      samplesSource({ workbench: refusing(code), graph: model.graph }).extremes(task);
    expect(await from("onnx-malformed")).toEqual(expected);
    await expect(from("runner-crashed")).rejects.toMatchObject({ code: "runner-crashed" });
  });
});
