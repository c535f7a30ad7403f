/** Runs ONNX bytes with onnxruntime in this process, for tests: small models, one thread. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import type {
  Batches,
  LoadedHere,
  TensorValue,
  Workbench,
} from "../../../../controller/compress/execute.ts";
import type { DataType, TensorData } from "../../../../controller/onnx/data-type.ts";

const sessionOptions: ort.InferenceSession.SessionOptions = {
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  logSeverityLevel: 3,
};

export async function loadModel(
  bytes: Uint8Array,
  graphOptimizationLevel: "disabled" | "basic" | "all" = "all",
): Promise<LoadedHere> {
  const session = await ort.InferenceSession.create(bytes, {
    ...sessionOptions,
    graphOptimizationLevel,
  });
  return {
    async run(feeds) {
      const tensors = [...feeds].map(([name, value]) => [name, toOrt(value)] as const);
      const results = await session.run(Object.fromEntries(tensors));
      return new Map(Object.entries(results).map(([name, tensor]) => [name, fromOrt(tensor)]));
    },
    close: () => session.release(),
    outputShapes: new Map(
      session.outputMetadata.map((meta) => [meta.name, meta.isTensor ? meta.shape : []]),
    ),
  };
}

/** Runs models of this process on these samples. */
export function workbenchOf(calibration: () => Batches, heldOut?: () => Batches): Workbench {
  return {
    load: (bytes, optimization = "basic") => loadModel(bytes, optimization),
    calibration,
    ...(heldOut === undefined ? {} : { heldOut }),
  };
}

/** Loads, runs once and releases. */
export async function runOnce(
  bytes: Uint8Array,
  feeds: ReadonlyMap<string, TensorValue>,
): Promise<ReadonlyMap<string, TensorValue>> {
  const model = await loadModel(bytes);
  try {
    return await model.run(feeds);
  } finally {
    await model.close();
  }
}

/** The graph that onnxruntime makes of a model. */
export async function optimizedBytes(bytes: Uint8Array): Promise<Uint8Array> {
  const folder = await mkdtemp(join(tmpdir(), "fleetfit-optimized-"));
  const path = join(folder, "optimized.onnx");
  try {
    const session = await ort.InferenceSession.create(bytes, {
      ...sessionOptions,
      optimizedModelFilePath: path,
    });
    await session.release();
    return await readFile(path);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export function floats(data: Float32Array, shape: readonly number[]): TensorValue {
  return { type: "float32", shape, data };
}

/** Signal-to-noise ratio in decibels, of `actual` against `expected`. */
export function signalToNoise(expected: Float32Array, actual: Float32Array): number {
  let signal = 0;
  let noise = 0;
  for (let index = 0; index < expected.length; index++) {
    signal += expected[index]! ** 2;
    noise += (expected[index]! - actual[index]!) ** 2;
  }
  return noise === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10(signal / noise);
}

function toOrt({ type, data, shape }: TensorValue): ort.Tensor {
  return new ort.Tensor(type as "float32", data as Float32Array, [...shape]);
}

function fromOrt(tensor: ort.Tensor): TensorValue {
  return {
    type: tensor.type as DataType,
    shape: tensor.dims,
    data: tensor.data as TensorData,
  };
}
