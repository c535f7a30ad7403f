/**
 * How compression runs a model: through a function that the caller gives, because sessions live in
 * child processes and this folder knows no runtime.
 */
import type { DataType, TensorData } from "../onnx/data-type.ts";

export interface TensorValue {
  readonly type: DataType;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

export type Feeds = ReadonlyMap<string, TensorValue>;

/** Runs one loaded model on one batch and resolves with all of its outputs. */
export type RunBatch = (feeds: Feeds) => Promise<ReadonlyMap<string, TensorValue>>;
