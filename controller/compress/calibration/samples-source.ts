/** Calibration statistics from the samples of a workbench. */
import {
  type ObserveOptions,
  observeExtremes,
  observeHistograms,
} from "../../../shared/calibration/observe.ts";
import type { CalibrationSource } from "../../../shared/calibration/source.ts";
import { isFleetError } from "../../../shared/errors.ts";
import type { Graph } from "../../onnx/graph.ts";
import type { LoadBeside, LoadedModel, Workbench } from "../execute.ts";
import { sampleCheck } from "./fit.ts";
import { type RunsSamples, runSamples } from "./run-samples.ts";
import { runScan, scanModel } from "./scan-model.ts";

export interface SamplesSourceOptions {
  readonly workbench: Workbench;
  /** What the samples must fit. */
  readonly graph: Graph;
  readonly signal?: AbortSignal | undefined;
  readonly onSample?: ((seen: number) => void) | undefined;
}

/** More at once hardly cost less, and leave more of them to one process at the end. */
const scannedSamples = 8;

export function samplesSource(options: SamplesSourceOptions): CalibrationSource {
  const { loadBeside = [] } = options.workbench;
  return {
    // Extremes are a few numbers a sample, so many samples go at once, to other processes too.
    extremes({ modelBytes, outputs }) {
      const how = {
        beside: loadBeside,
        batchSamples: scannedSamples,
        open: scanOpener(modelBytes),
      };
      return withModel(options, how, (loop) => observeExtremes({ ...loop, outputs }));
    },
    // Values are megabytes, which take longer to hand over than to make.
    histograms({ modelBytes, grids }) {
      const open: Open = async (load) => oneByOne(await load(modelBytes));
      const how = { beside: [], batchSamples: 1, open };
      return withModel(options, how, (loop) => observeHistograms({ ...loop, grids }));
    },
  };
}

/** A model in the runtime that takes several samples; whoever opened it closes it. */
interface Opened {
  readonly run: RunsSamples;
  readonly close: () => Promise<void>;
}

/** Opens a model by what loads it, here or elsewhere. */
type Open = (load: LoadBeside) => Promise<Opened>;

interface How {
  readonly beside: readonly LoadBeside[];
  readonly batchSamples: number;
  readonly open: Open;
}

function oneByOne(loaded: LoadedModel): Opened {
  return {
    async run(samples) {
      const results = [];
      for (const feeds of samples) results.push(await loaded.run(feeds));
      return results;
    },
    close: loaded.close,
  };
}

/** As a scan over samples, or where the runtime takes none the model as it is. */
function scanOpener(modelBytes: Uint8Array): Open {
  const scan = scanModel(modelBytes);
  return async (load) => {
    if (scan === undefined) return oneByOne(await load(modelBytes));
    try {
      const loaded = await load(scan.modelBytes);
      return { run: (samples) => runScan(loaded, scan, samples), close: loaded.close };
    } catch (error) {
      if (!isFleetError(error, "onnx-malformed")) throw error;
      return oneByOne(await load(modelBytes));
    }
  };
}

/** Opens the model, observes with it, closes it; here and, as soon as it is open there, elsewhere. */
async function withModel<T>(
  { workbench, graph, signal, onSample }: SamplesSourceOptions,
  { beside, batchSamples, open }: How,
  observe: (loop: ObserveOptions) => Promise<T>,
): Promise<T> {
  const elsewhere = beside.map(open);
  // Asked now, because one that fails before anybody looks would end this process.
  const settled = Promise.allSettled(elsewhere);
  try {
    // As it is, as onnxruntime's own calibration runs it: the least to do before the first sample.
    const here = await open((modelBytes) => workbench.load(modelBytes, "disabled"));
    try {
      return await observe({
        runs: runSamples({
          samples: workbench.calibration(),
          batchSamples,
          check: sampleCheck(graph),
          here: here.run,
          beside: elsewhere.map(async (opening) => (await opening).run),
          signal,
        }),
        onSample,
      });
    } finally {
      await here.close();
    }
  } finally {
    for (const opening of await settled) {
      if (opening.status === "fulfilled") await opening.value.close().catch(() => {});
    }
  }
}
