/**
 * Collects the statistics of values in the middle of a model: extremes always, histograms in a second
 * pass over the samples when a method needs them. What a cache knows is not observed again.
 *
 * Invariant: the samples are read at most twice, however many methods will choose from the statistics.
 */
import { observeExtremes, observeHistograms } from "../../../shared/calibration/observe.ts";
import {
  decodeExtremes,
  decodeHistograms,
  type ExtremesTable,
  encodeExtremes,
  encodeHistograms,
  type HistogramTable,
} from "../../../shared/calibration/statistics.ts";
import { FleetError, isFleetError } from "../../../shared/errors.ts";
import type { Model } from "../../onnx/model.ts";
import type { Feeds, Outputs, RunBatch, Workbench } from "../execute.ts";
import { calibrationKey } from "./cache.ts";
import { extremesModel } from "./extremes-model.ts";
import { sampleCheck } from "./fit.ts";
import { tapModel } from "./tap-model.ts";

export interface CollectOptions {
  readonly workbench: Workbench;
  readonly model: Model;
  /** Names of float32 values. */
  readonly tensors: readonly string[];
  readonly needsHistograms: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly onSample?: ((seen: number) => void) | undefined;
}

export interface Collected {
  readonly extremes: ExtremesTable;
  /** Empty unless asked for. */
  readonly histograms: HistogramTable;
}

/** Throws `calibration-failed` for no samples, samples that do not fit, and values not finite. */
export async function collectStatistics(options: CollectOptions): Promise<Collected> {
  const extremes = await collectExtremes(options);
  if (!options.needsHistograms) return { extremes, histograms: new Map() };
  return { extremes, histograms: await collectHistograms(options, extremes) };
}

function collectExtremes(options: CollectOptions): Promise<ExtremesTable> {
  const { model, outputs } = extremesModel(options.model, options.tensors);
  const modelBytes = model.encode();
  const codec = { encode: encodeExtremes, decode: decodeExtremes };
  return cached(options.workbench, { modelBytes, more: ["extremes", outputs] }, codec, () =>
    observed(options, modelBytes, (loop) => observeExtremes({ ...loop, outputs })),
  );
}

function collectHistograms(
  options: CollectOptions,
  extremes: ExtremesTable,
): Promise<HistogramTable> {
  const tapped = tapModel(options.model, options.tensors);
  const { graph } = tapped;
  const wanted = new Set(options.tensors);
  const outputs = graph.outputs.filter(({ name }) => wanted.has(name ?? ""));
  // A model must yield something, also when only its inputs are observed.
  if (outputs.length > 0) graph.setOutputInfos(outputs);
  const modelBytes = tapped.encode();
  const grids = new Map([...extremes].map(([tensor, { full }]) => [tensor, full]));
  const codec = { encode: encodeHistograms, decode: decodeHistograms };
  return cached(options.workbench, { modelBytes, more: ["histograms", [...grids]] }, codec, () =>
    observed(options, modelBytes, (loop) => observeHistograms({ ...loop, grids })),
  );
}

interface Loop {
  readonly samples: Workbench["calibration"] extends () => infer Batches ? Batches : never;
  readonly run: RunBatch;
  readonly signal: AbortSignal | undefined;
  readonly onSample: ((seen: number) => void) | undefined;
}

/** Observes with a loaded model, and closes it. */
async function observed<T>(
  { workbench, model, signal, onSample }: CollectOptions,
  modelBytes: Uint8Array,
  observe: (loop: Loop) => Promise<T>,
): Promise<T> {
  const check = sampleCheck(model.graph);
  const loaded = await workbench.load(modelBytes);
  let sample = 0;
  const run = async (feeds: Feeds): Promise<Outputs> => {
    check(feeds, sample);
    const outputs = await loaded.run(feeds).catch((cause: unknown) => {
      throw runFailure(sample, cause);
    });
    sample++;
    // A tapped input of the graph is no output of it.
    return new Map([...feeds, ...outputs]);
  };
  try {
    return await observe({ samples: workbench.calibration(), run, signal, onSample });
  } finally {
    await loaded.close();
  }
}

function runFailure(sample: number, cause: unknown): unknown {
  if (isFleetError(cause)) return cause;
  const why = cause instanceof Error ? cause.message : String(cause);
  return new FleetError(
    "calibration-failed",
    `the model does not run on calibration sample ${sample} (${why}): check the sample and the model`,
    { details: { sample }, cause },
  );
}

async function cached<T>(
  { calibrationCache: cache }: Workbench,
  made: { readonly modelBytes: Uint8Array; readonly more: readonly unknown[] },
  codec: { readonly encode: (table: T) => Uint8Array; readonly decode: (bytes: Uint8Array) => T },
  make: () => Promise<T>,
): Promise<T> {
  if (cache === undefined) return make();
  const key = calibrationKey(cache, made.modelBytes, made.more);
  const known = await cache.read(key);
  const table = known === undefined ? undefined : readable(known, codec.decode);
  if (table !== undefined) return table;
  const fresh = await make();
  await cache.write(key, codec.encode(fresh));
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
