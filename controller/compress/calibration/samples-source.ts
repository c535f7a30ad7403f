/** Calibration statistics from the samples of a workbench. */
import {
  type ObserveOptions,
  observeExtremes,
  observeHistograms,
} from "../../../shared/calibration/observe.ts";
import type { CalibrationSource } from "../../../shared/calibration/source.ts";
import type { Graph } from "../../onnx/graph.ts";
import type { LoadBeside, Workbench } from "../execute.ts";
import { sampleCheck } from "./fit.ts";
import { runSamples } from "./run-samples.ts";

export interface SamplesSourceOptions {
  readonly workbench: Workbench;
  /** What the samples must fit. */
  readonly graph: Graph;
  readonly signal?: AbortSignal | undefined;
  readonly onSample?: ((seen: number) => void) | undefined;
}

export function samplesSource(options: SamplesSourceOptions): CalibrationSource {
  return {
    // Extremes are a few numbers a sample. Values are megabytes, which take longer to hand over than to make.
    extremes: ({ modelBytes, outputs }) =>
      withModel(options, modelBytes, options.workbench.loadBeside ?? [], (loop) =>
        observeExtremes({ ...loop, outputs }),
      ),
    histograms: ({ modelBytes, grids }) =>
      withModel(options, modelBytes, [], (loop) => observeHistograms({ ...loop, grids })),
  };
}

/** Loads the model, observes with it, closes it; here and, as soon as it is loaded there, elsewhere. */
async function withModel<T>(
  { workbench, graph, signal, onSample }: SamplesSourceOptions,
  modelBytes: Uint8Array,
  elsewhere: readonly LoadBeside[],
  observe: (loop: ObserveOptions) => Promise<T>,
): Promise<T> {
  const beside = elsewhere.map((load) => load(modelBytes));
  // Asked now, because a load that fails before anybody looks would end this process.
  const settled = Promise.allSettled(beside);
  try {
    // As it is, as onnxruntime's own calibration runs it: the least to do before the first sample.
    const here = await workbench.load(modelBytes, "disabled");
    try {
      const samples = workbench.calibration();
      const check = sampleCheck(graph);
      return await observe({
        runs: runSamples({ samples, check, here, beside, signal }),
        onSample,
      });
    } finally {
      await here.close();
    }
  } finally {
    for (const loading of await settled) {
      if (loading.status === "fulfilled") await loading.value.close().catch(() => {});
    }
  }
}
