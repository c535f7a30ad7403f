/**
 * One ONNX session in this process. Only the entry files of child processes open one: `run()` and
 * `create()` block the event loop, and killing a worker thread inside them aborts the process
 * (onnxruntime-node 1.30, measured).
 *
 * Invariants: one intra-op thread (spin barriers make more threads slower on a busy machine,
 * measured); sessions are released.
 */
import { InferenceSession, Tensor } from "onnxruntime-node";
import { FleetError } from "../errors.ts";
import type { OutputTensor } from "./processing/answer.ts";
import type { TypedData } from "./processing/typed-data.ts";

export interface TensorFact {
  readonly name: string;
  readonly dtype: string;
  /** Symbolic or unknown sizes are −1. */
  readonly shape: readonly number[];
}

export interface Feed {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: TypedData;
}

export interface Session {
  readonly inputs: readonly TensorFact[];
  readonly outputs: readonly TensorFact[];
  /** Of each output what the runtime infers from the file: a name stands for a length that hangs on the inputs. */
  readonly outputShapes: ReadonlyMap<string, readonly (number | string)[]>;
  run(feeds: Readonly<Record<string, Feed>>): Promise<Record<string, OutputTensor>>;
  release(): Promise<void>;
}

export interface SessionOptions {
  /** Where onnxruntime writes the graph that it really runs. */
  readonly optimizedModelPath?: string;
  /** `basic` keeps the graph close to the file; all by default. */
  readonly optimization?: "disabled" | "basic" | "all";
}

/** Errors: `onnx-malformed` when onnxruntime refuses the model. */
export async function openSession(
  model: string | Uint8Array,
  options: SessionOptions = {},
): Promise<Session> {
  const settings: InferenceSession.SessionOptions = {
    executionProviders: ["cpu"],
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionMode: "sequential",
    graphOptimizationLevel: options.optimization ?? "all",
    logSeverityLevel: 3,
    ...(options.optimizedModelPath && { optimizedModelFilePath: options.optimizedModelPath }),
  };
  const session = await create(model, settings).catch((cause: unknown) => {
    throw new FleetError("onnx-malformed", `onnxruntime refuses the model: ${String(cause)}`, {
      cause,
    });
  });
  return {
    inputs: session.inputMetadata.map(factOf),
    outputs: session.outputMetadata.map(factOf),
    outputShapes: new Map(
      session.outputMetadata.map((meta) => [meta.name, meta.isTensor ? meta.shape : []]),
    ),
    async run(feeds) {
      const tensors = Object.entries(feeds).map(([name, feed]) => [name, tensorOf(feed)]);
      const results = await session.run(Object.fromEntries(tensors));
      return Object.fromEntries(
        Object.entries(results).map(([name, result]) => [
          name,
          { dtype: result.type, shape: result.dims, data: result.data as TypedData },
        ]),
      );
    },
    release: () => session.release(),
  };
}

function tensorOf(feed: Feed): Tensor {
  const tensor = new Tensor(feed.dtype as "float32", feed.data as Float32Array, feed.shape);
  if (feed.dtype === "float16") {
    // onnxruntime-common wraps the bits in a Float16Array, of which the native side of
    // onnxruntime-node 1.30 reads 0 bytes ("not enough space"); it does read a Uint16Array.
    Object.assign(tensor, { cpuData: feed.data });
  }
  return tensor;
}

function create(
  model: string | Uint8Array,
  settings: InferenceSession.SessionOptions,
): Promise<InferenceSession> {
  return typeof model === "string"
    ? InferenceSession.create(model, settings)
    : InferenceSession.create(model, settings);
}

function factOf(meta: InferenceSession.ValueMetadata): TensorFact {
  if (!meta.isTensor) return { name: meta.name, dtype: "sequence", shape: [] };
  const shape = meta.shape.map((size) => (typeof size === "number" && size > 0 ? size : -1));
  return { name: meta.name, dtype: meta.type, shape };
}
