/**
 * Runs ONNX bytes with onnxruntime-node for the training scripts: one intra-op thread, so that the
 * order of every sum, and with it every trained byte, is the same in each run on one machine.
 *
 * A session blocks the event loop while it runs, which is what a script wants.
 */
import * as ort from "onnxruntime-node";
import type { FloatTensor, GraphRunner } from "../../controller/train/trainer.ts";
import { assert } from "../../shared/assert.ts";

export interface OrtRunner extends GraphRunner {
  /** Runs on `feeds` and returns every output in new memory. */
  runAll(feeds: ReadonlyMap<string, FloatTensor>): Promise<Map<string, FloatTensor>>;
  /** Runs on `feeds` and returns the shape of every output, of whatever type. */
  shapes(feeds: ReadonlyMap<string, FloatTensor>): Promise<Map<string, readonly number[]>>;
  close(): Promise<void>;
}

/** Loads a model whose inputs are all float32. */
export async function openRunner(modelBytes: Uint8Array): Promise<OrtRunner> {
  const session = await ort.InferenceSession.create(modelBytes, {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionMode: "sequential",
    // Warnings about unused initializers say nothing to the reader of a training.
    logSeverityLevel: 3,
  });
  return {
    async run(feeds, into) {
      await session.run(tensors(feeds), tensors(into));
    },
    async runAll(feeds) {
      const results = await session.run(tensors(feeds));
      return new Map(Object.entries(results).map(([name, tensor]) => [name, floats(tensor)]));
    },
    async shapes(feeds) {
      const results = await session.run(tensors(feeds));
      return new Map(Object.entries(results).map(([name, { dims }]) => [name, dims]));
    },
    close: () => session.release(),
  };
}

function tensors(values: ReadonlyMap<string, FloatTensor>): Record<string, ort.Tensor> {
  return Object.fromEntries(
    [...values].map(([name, { data, shape }]) => [name, new ort.Tensor("float32", data, shape)]),
  );
}

function floats(tensor: ort.Tensor): FloatTensor {
  assert(tensor.data instanceof Float32Array, `output is ${tensor.type}, not float32`);
  return { data: tensor.data, shape: tensor.dims };
}
