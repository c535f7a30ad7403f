/** Calibration statistics from the samples of a workbench. */
import {
  type ObserveOptions,
  observeExtremes,
  observeHistograms,
} from "../../../shared/calibration/observe.ts";
import type { CalibrationSource } from "../../../shared/calibration/source.ts";
import { FleetError, isFleetError } from "../../../shared/errors.ts";
import { release } from "../../../shared/inference/processing/typed-data.ts";
import type { Graph } from "../../onnx/graph.ts";
import type { Feeds, LoadedModel, Outputs, Workbench } from "../execute.ts";
import { sampleCheck } from "./fit.ts";

export interface SamplesSourceOptions {
  readonly workbench: Workbench;
  /** What the samples must fit. */
  readonly graph: Graph;
  readonly signal?: AbortSignal | undefined;
  readonly onSample?: ((seen: number) => void) | undefined;
}

export function samplesSource(options: SamplesSourceOptions): CalibrationSource {
  return {
    extremes: ({ modelBytes, outputs }) =>
      withModel(options, modelBytes, (loop) => observeExtremes({ ...loop, outputs })),
    histograms: ({ modelBytes, grids }) =>
      withModel(options, modelBytes, (loop) => observeHistograms({ ...loop, grids })),
  };
}

/** Loads the model, observes with it, closes it. */
async function withModel<T>(
  { workbench, graph, signal, onSample }: SamplesSourceOptions,
  modelBytes: Uint8Array,
  observe: (loop: ObserveOptions<Feeds>) => Promise<T>,
): Promise<T> {
  const loaded = await workbench.load(modelBytes);
  try {
    return await observe({
      samples: workbench.calibration(),
      run: checkedRun(loaded, graph),
      signal,
      onSample,
    });
  } finally {
    await loaded.close();
  }
}

/**
 * Runs sample after sample; what a sample feeds is seen beside what the model yields. Outputs are given
 * back when the next sample comes: activations are by far the largest part of memory.
 */
function checkedRun(loaded: LoadedModel, graph: Graph): (feeds: Feeds) => Promise<Outputs> {
  const check = sampleCheck(graph);
  let sample = 0;
  let outputs: Outputs = new Map();
  return async (feeds) => {
    check(feeds, sample);
    for (const { data } of outputs.values()) release(data);
    outputs = await loaded.run(feeds).catch((cause: unknown) => {
      throw runFailure(sample, cause);
    });
    sample++;
    return new Map([...feeds, ...outputs]);
  };
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
