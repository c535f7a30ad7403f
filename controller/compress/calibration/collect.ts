/**
 * Collects the statistics of values in the middle of a model: extremes always, histograms in a second
 * pass over the samples when a method needs them. What a cache knows is not observed again.
 *
 * Invariant: the samples are read at most twice, however many methods will choose from the statistics.
 */
import type { CalibrationSource } from "../../../shared/calibration/source.ts";
import {
  decodeExtremes,
  decodeHistograms,
  type ExtremesTable,
  encodeExtremes,
  encodeHistograms,
  type HistogramTable,
} from "../../../shared/calibration/statistics.ts";
import { isFleetError } from "../../../shared/errors.ts";
import type { Model } from "../../onnx/model.ts";
import type { Workbench } from "../execute.ts";
import { type CalibrationCache, calibrationKey } from "./cache.ts";
import { extremesModel } from "./extremes-model.ts";
import { samplesSource } from "./samples-source.ts";
import { tapModel } from "./tap-model.ts";

export interface CollectOptions {
  readonly workbench: Workbench;
  readonly model: Model;
  /** Names of float32 values. */
  readonly tensors: readonly string[];
  readonly needsHistograms: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Called after each sample with how many of this pass over them were seen. */
  readonly onSample?: ((seen: number) => void) | undefined;
}

export interface Collected {
  readonly extremes: ExtremesTable;
  /** Empty unless asked for. */
  readonly histograms: HistogramTable;
}

/** Throws `calibration-failed` for no samples, samples that do not fit, and values not finite. */
export async function collectStatistics(options: CollectOptions): Promise<Collected> {
  const { workbench, model, needsHistograms } = options;
  // Devices' own data change, so what they saw is not kept.
  const own = workbench.calibrationSource;
  const cache = own === undefined ? workbench.calibrationCache : undefined;
  const source = own ?? samplesSource({ ...options, graph: model.graph });
  const extremes = await collectExtremes(options, source, cache);
  if (!needsHistograms) return { extremes, histograms: new Map() };
  return { extremes, histograms: await collectHistograms(options, source, cache, extremes) };
}

function collectExtremes(
  options: CollectOptions,
  source: CalibrationSource,
  cache: CalibrationCache | undefined,
): Promise<ExtremesTable> {
  const { model, outputs } = extremesModel(options.model, options.tensors);
  const modelBytes = model.encode();
  return cached(cache, {
    key: (known) => calibrationKey(known, modelBytes, ["extremes", outputs]),
    encode: encodeExtremes,
    decode: decodeExtremes,
    make: () => source.extremes({ modelBytes, outputs }),
  });
}

function collectHistograms(
  options: CollectOptions,
  source: CalibrationSource,
  cache: CalibrationCache | undefined,
  extremes: ExtremesTable,
): Promise<HistogramTable> {
  const modelBytes = valuesModel(options.model, options.tensors).encode();
  const grids = new Map([...extremes].map(([tensor, { full }]) => [tensor, full]));
  return cached(cache, {
    key: (known) => calibrationKey(known, modelBytes, ["histograms", [...grids]]),
    encode: encodeHistograms,
    decode: decodeHistograms,
    make: () => source.histograms({ modelBytes, grids }),
  });
}

/** The model with no outputs but `tensors`. */
function valuesModel(model: Model, tensors: readonly string[]): Model {
  const tapped = tapModel(model, tensors);
  const { graph } = tapped;
  const wanted = new Set(tensors);
  const outputs = graph.outputs.filter(({ name }) => wanted.has(name ?? ""));
  // A model must yield something, also when only its inputs are observed.
  if (outputs.length > 0) graph.setOutputInfos(outputs);
  return tapped;
}

interface Table<T> {
  readonly key: (cache: CalibrationCache) => string;
  readonly encode: (table: T) => Uint8Array;
  readonly decode: (bytes: Uint8Array) => T;
  readonly make: () => Promise<T>;
}

async function cached<T>(cache: CalibrationCache | undefined, table: Table<T>): Promise<T> {
  if (cache === undefined) return table.make();
  const key = table.key(cache);
  const bytes = await cache.read(key);
  const known = bytes === undefined ? undefined : readable(bytes, table.decode);
  if (known !== undefined) return known;
  const fresh = await table.make();
  await cache.write(key, table.encode(fresh));
  return fresh;
}

/** Undefined for a table that is damaged. */
function readable<T>(bytes: Uint8Array, decode: (bytes: Uint8Array) => T): T | undefined {
  try {
    return decode(bytes);
  } catch (error) {
    if (isFleetError(error, "calibration-failed")) return undefined;
    throw error;
  }
}
