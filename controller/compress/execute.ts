/**
 * How compression runs a model: through a workbench that the caller gives, because sessions live in
 * child processes and this folder knows no runtime.
 *
 * Invariant: calibration samples are observed, held-out samples choose between candidates; neither is a
 * sample that a floor or a promotion is judged on.
 */
import type { CalibrationSource } from "../../shared/calibration/source.ts";
import type { DataType, TensorData } from "../onnx/data-type.ts";
import type { CalibrationCache } from "./calibration/cache.ts";

export interface TensorValue {
  readonly type: DataType;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

export type Feeds = ReadonlyMap<string, TensorValue>;

export type Outputs = ReadonlyMap<string, TensorValue>;

/** Runs one loaded model on one batch and resolves with all of its outputs. */
export type RunBatch = (feeds: Feeds) => Promise<Outputs>;

/** A model in the runtime; whoever loaded it closes it. */
export interface LoadedModel {
  readonly run: RunBatch;
  readonly close: () => Promise<void>;
}

/** A model in this process, which tells what the runtime infers of it. */
export interface LoadedHere extends LoadedModel {
  /**
   * Lengths of each output as far as they hang on no input; equal names stand for equal lengths. Empty
   * for scalars and where nothing is inferred.
   */
  readonly outputShapes: ReadonlyMap<string, readonly (number | string)[]>;
}

/** Loads an ONNX file in another process, which computes while this one does, and runs it as it is. */
export type LoadBeside = (modelBytes: Uint8Array) => Promise<LoadedModel>;

export type Batches = Iterable<Feeds> | AsyncIterable<Feeds>;

/** How samples are told apart by how well a model answers them. */
export interface Judge {
  /** Loss per held-out sample, 0 at best, of a model's outputs for each of them in their order. */
  readonly losses: (outputs: readonly Outputs[]) => Float64Array;
  /** The name of each held-out sample's slice, a region for instance; absent without slices. */
  readonly slices?: readonly string[];
}

/** What a pass may do with models beside rewriting them. */
export interface Workbench {
  /**
   * Loads an ONNX file. The runtime fuses as little as it can (`basic`) unless told to run the model as it is
   * (`disabled`) or as a device would (`all`). Throws `onnx-malformed` for what the runtime refuses.
   */
  readonly load: (
    modelBytes: Uint8Array,
    optimization?: "disabled" | "basic" | "all",
  ) => Promise<LoadedHere>;
  /** Other processes that may take a part of the samples; absent when there are none. */
  readonly loadBeside?: readonly LoadBeside[];
  /** Calibration samples, one a batch, the same ones in the same order each time. */
  readonly calibration: () => Batches;
  /** Samples to choose between candidates by, one a batch, in one order; absent when there are none. */
  readonly heldOut?: () => Batches;
  /** Absent when the held-out samples have no labels. */
  readonly judge?: Judge;
  /** Who observes instead, on data of their own, of which only statistics come here. */
  readonly calibrationSource?: CalibrationSource;
  /** Keeps what calibration observed; absent when nothing is kept. */
  readonly calibrationCache?: CalibrationCache;
}
