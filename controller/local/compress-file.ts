/**
 * Compresses one ONNX file on this machine, without a controller: makes a variant per recipe in a worker,
 * evaluates it on the golden set, times it against the source and lets a device class choose. Whatever is
 * finished is kept in the output folder, where a second run goes on.
 *
 * Invariants: nothing outside of the output folder is written; a recipe that fails is told and the others
 * go on.
 */
import { basename, join } from "node:path";
import { stringify } from "yaml";
import { assert } from "../../shared/assert.ts";
import { writeFileAtomic } from "../../shared/files/atomic-file.ts";
import type { Files } from "../../shared/ports/files.ts";
import { foretellTime } from "../compress/cost/foretell.ts";
import type { Recipe } from "../compress/recipe.ts";
import { type DeviceClass, processorsOf } from "../fleet/classes.ts";
import type { ForetellBound } from "../jobs/foretell-bound.ts";
import { superviseWorker } from "../jobs/supervise.ts";
import { foretoldFor } from "../plan/accuracy.ts";
import { choose, type MeasuredVariant } from "../plan/choose.ts";
import {
  type CompressionReport,
  figuresOf,
  type LatencyFigures,
  type VariantReport,
} from "../report/compression-report.ts";
import { reportPage } from "../report/page.ts";
import type { DeviceCosts } from "./cost-table.ts";
import { type Keeper, type Kept, keeper, type Machine } from "./kept-results.ts";
import { type MeasurePorts, measureLatency } from "./measure.ts";
import { localAssetPaths, type Sources } from "./sources.ts";

/** What a device's trial grants by default to a file that answers otherwise than it did here. */
const parity = { flipFractionMax: 0.01, alpha: 0.001 };

export interface LocalPorts extends MeasurePorts {
  readonly files: Files;
}

export interface LocalOrder {
  readonly sources: Sources;
  readonly recipes: readonly Recipe[];
  readonly deviceClass: DeviceClass;
  readonly machine: Machine;
  /** True when this machine is one of the class: its latencies are facts about it. */
  readonly isOfClass: boolean;
  readonly outDir: string;
  readonly measure: boolean;
  readonly foretellBound: ForetellBound;
  /** Of a device on which times are foretold. */
  readonly costs?: DeviceCosts;
  readonly limits: { readonly memoryBytesMax: number; readonly timeoutMs: number };
}

export type OnProgress = (fraction: number, message: string) => void;

/** Share of the bar that making and evaluating takes; timing is the rest. */
const makingShare = 0.8;

/** Errors: `job-failed` and what the worker answers, `disk-full`. */
export async function compressFile(
  ports: LocalPorts,
  order: LocalOrder,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<CompressionReport> {
  const { files } = ports;
  await files.makeDirectory(order.outDir);
  const results = keeper(files, order.outDir, order);
  const kept = await make(ports, order, results, {
    onProgress: (fraction, message) => onProgress(fraction * makingShare, message),
    signal,
  });
  const variants: VariantReport[] = [];
  for (const [at, one] of kept.entries()) {
    signal.throwIfAborted();
    onProgress(makingShare + (1 - makingShare) * (at / kept.length), `timing ${one.recipe}`);
    variants.push(await variantOf(ports, order, results, one));
  }
  const report = reportOf(order, kept, variants);
  const text = (value: string) => new TextEncoder().encode(value);
  await writeFileAtomic(
    files,
    join(order.outDir, "report.json"),
    text(JSON.stringify(report, null, 2)),
  );
  await writeFileAtomic(files, join(order.outDir, "report.html"), text(reportPage(report)));
  onProgress(1, "done");
  return report;
}

/** What each recipe came to, in the order of the recipes; those of an earlier run are taken as they are. */
async function make(
  ports: LocalPorts,
  order: LocalOrder,
  results: Keeper,
  { onProgress, signal }: { onProgress: OnProgress; signal: AbortSignal },
): Promise<Kept[]> {
  const kept = new Map<string, Kept>();
  for (const recipe of order.recipes) {
    const found = await results.find(recipe);
    if (found !== undefined) kept.set(recipe.name, found);
  }
  const missing = order.recipes.filter(({ name }) => !kept.has(name));
  if (missing.length > 0) {
    const scratchDir = join(order.outDir, ".scratch");
    await ports.files.makeDirectory(scratchDir);
    try {
      await superviseWorker(ports, {
        order: workOrder(order, missing, scratchDir),
        timeoutMs: order.limits.timeoutMs,
        signal,
        onProgress: async (fraction, message) => onProgress(fraction, message),
        async onResult(result) {
          const recipe = missing.find(({ name }) => name === result.recipe);
          assert(recipe !== undefined, `nobody asked the worker for ${result.recipe}`);
          kept.set(recipe.name, await results.keep(recipe, result));
        },
      });
    } finally {
      await ports.files.remove(scratchDir);
    }
  }
  return order.recipes.map(({ name }) => {
    const one = kept.get(name);
    assert(one !== undefined, `the worker said nothing of ${name}`);
    return one;
  });
}

function workOrder(
  { sources, limits, outDir, foretellBound }: LocalOrder,
  recipes: Recipe[],
  scratchDir: string,
) {
  return {
    sourcePath: sources.modelPath,
    interface: sources.interface,
    assetPaths: localAssetPaths(sources),
    goldenFiles: sources.goldenFiles,
    goldenManifest: basename(sources.goldenPath),
    split: sources.split,
    recipesYaml: stringify({ recipes }),
    memoryBytesMax: limits.memoryBytesMax,
    scratchDir,
    calibrationDir: join(outDir, ".calibration"),
    foretellBound,
  };
}

async function variantOf(
  ports: LocalPorts,
  { sources, measure, costs }: LocalOrder,
  results: Keeper,
  kept: Kept,
): Promise<VariantReport> {
  const { recipe, status } = kept;
  if (kept.status !== "ready") {
    return { recipe, status, reason: kept.reason, figures: null, foretoldTime: null };
  }
  const latency: LatencyFigures | null = measure
    ? await measureLatency(ports, sources, results.modelPath(recipe))
    : null;
  const file = { bytes: kept.modelBytes, sha256: kept.modelSha256 };
  const figures = figuresOf(sources, file, kept.evaluation, latency);
  const foretoldTime =
    costs === undefined
      ? null
      : await foretoldOf(ports.files, results.modelPath(recipe), kept, costs);
  return { recipe, status, reason: null, figures, foretoldTime };
}

async function foretoldOf(
  files: Files,
  path: string,
  { modelBytes: maxBytes, shapes }: Extract<Kept, { status: "ready" }>,
  costs: DeviceCosts,
) {
  if (shapes === null) return null;
  const modelBytes = await files.read(path, { maxBytes });
  return foretellTime({ modelBytes, shapes }, costs) ?? null;
}

function reportOf(
  order: LocalOrder,
  kept: readonly Kept[],
  variants: readonly VariantReport[],
): CompressionReport {
  const { sources, deviceClass, machine } = order;
  const { golden } = sources;
  const ready = kept.find((one) => one.status === "ready");
  const latencies = variants.flatMap(({ figures }) => figures?.latency ?? []);
  const sourceP50Ms = Math.min(...latencies.map((latency) => latency.sourceP50Ms));
  const choice = choose(
    deviceClass,
    variants.map((variant) => measuredOf(order, variant, sourceP50Ms)),
    { parity },
  );
  return {
    schema: "fleetfit/compression-report/1",
    source: {
      name: basename(sources.modelPath),
      sha256: sources.sha256,
      bytes: sources.bytes,
      selection: ready?.status === "ready" ? ready.sourceSelection : null,
    },
    golden: {
      name: golden.name,
      metric: golden.metric,
      samples: golden.count,
      poolSha256: golden.poolSha256,
      seed: sources.split.seed,
    },
    machine,
    deviceClass: deviceClass.name,
    foretoldOn: foretoldOn(order.costs),
    variants,
    choice: { recipe: choice.winner?.recipe ?? null, reasons: choice.reasons },
  };
}

function foretoldOn(costs: DeviceCosts | undefined): CompressionReport["foretoldOn"] {
  if (costs === undefined) return null;
  const { device, emulated, degraded } = costs;
  return { device, emulated, degraded };
}

/**
 * This machine stands for a device of the class; where it is none, its figures are marked so. Latency is the
 * source's at its best, times the ratio found in turns: a busy moment of one variant does not decide.
 */
function measuredOf(
  { isOfClass, deviceClass }: LocalOrder,
  variant: VariantReport,
  sourceP50Ms: number,
): MeasuredVariant {
  const { figures } = variant;
  const latency = figures?.latency ?? null;
  const ms = (latency?.cpuRatio ?? Number.NaN) * sourceP50Ms;
  return {
    recipe: variant.recipe,
    bundleSha256: null,
    status: variant.status,
    reason: variant.reason,
    modelBytes: figures?.bytes ?? null,
    metric: figures?.sealed ?? null,
    worse: figures?.paired.worse ?? 0,
    better: figures?.paired.better ?? 0,
    foretold: foretoldFor(figures?.foretold ?? [], {
      processors: processorsOf(deviceClass, []),
      measuredOn: [],
    }),
    measurementFailure: null,
    measured:
      figures === null || latency === null
        ? null
        : {
            device: "this machine",
            latencyP50Ms: ms,
            latencyIntervalMs: [ms, ms],
            ramPeakBytes: figures.ramPeakBytes,
            metric: null,
            parity: null,
            degraded: false,
            emulated: !isOfClass,
          },
  };
}
