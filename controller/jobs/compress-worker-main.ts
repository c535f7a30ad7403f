/**
 * One compression job in a process of its own: applies each recipe, evaluates what came out on every
 * sample that something is judged on, and hands the files to the controller. It leaves when its parent
 * is gone.
 *
 * Invariant: calibration sees calibration samples only; floors are judged on sealed ones.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { fileBytes } from "../../shared/adapters/file-bytes.ts";
import { onnxruntimeVersion } from "../../shared/adapters/runtime-facts.ts";
import { systemClock } from "../../shared/adapters/system-clock.ts";
import { systemFiles } from "../../shared/adapters/system-files.ts";
import { systemProcesses } from "../../shared/adapters/system-processes.ts";
import { type Foretold, journalSchema } from "../../shared/api/evaluation.ts";
import { readIsa } from "../../shared/devices/isa.ts";
import { processorOf } from "../../shared/devices/processor.ts";
import { isFleetError } from "../../shared/errors.ts";
import {
  buildGoldenSet,
  type GoldenSet,
  goldenSampleBytes,
  parseGoldenManifest,
  takeSamples,
} from "../../shared/evaluation/golden-set.ts";
import { type GoldenSplit, splitPool } from "../../shared/evaluation/golden-split.ts";
import { metricOf } from "../../shared/evaluation/metrics/registry.ts";
import { type Helper, helpersFor, startHelper } from "../../shared/inference/helper.ts";
import type { Assets } from "../../shared/inference/processing/registry.ts";
import { startRunner } from "../../shared/inference/runner.ts";
import type { Evaluation } from "../../shared/inference/runner-protocol.ts";
import { openSession } from "../../shared/inference/session.ts";
import { readAll } from "../../shared/ports/byte-source.ts";
import type { CalibrationCache } from "../compress/calibration/cache.ts";
import { applyRecipe } from "../compress/compress.ts";
import { keptShapes } from "../compress/cost/kept-shapes.ts";
import { auditFusion } from "../compress/fusion-audit.ts";
import { auditPlan, planFellBack, plannedLayers } from "../compress/fusion-plan.ts";
import { parseRecipes, type Recipe } from "../compress/recipe.ts";
import { Model } from "../onnx/model.ts";
import { calibrationCache } from "./calibration-cache.ts";
import { foretellElsewhere } from "./foretell.ts";
import { compareWithSource, judgeAt, judgedSamples, scoreOf, sourceSamples } from "./score.ts";
import { workbenchOf } from "./workbench.ts";
import {
  type WorkerMessage,
  type WorkOrder,
  type WorkResult,
  workOrderSchema,
} from "./worker-protocol.ts";

const sliceSamplesMax = 2_000;
const sliceBytesMax = 16_000_000;
const memorySamples = 8;
const evaluationsAtOnce = 2;
const sourceName = "source";

const memoryLookMs = 250;

interface Job {
  readonly order: WorkOrder;
  readonly set: GoldenSet;
  readonly split: GoldenSplit;
  readonly helpers: readonly Helper[];
  /** Files that the interface reads. */
  readonly assets: Assets;
  readonly say: (fraction: number, message: string) => void;
}

process.on("disconnect", () => process.exit(0));
process.once("message", (message) => {
  void main(workOrderSchema.parse(message));
});

function send(message: WorkerMessage): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined) resolve();
    else process.send(message, undefined, {}, () => resolve());
  });
}

async function main(order: WorkOrder): Promise<void> {
  watchMemory(order.memoryBytesMax);
  try {
    await work(order);
    await send({ kind: "done" });
  } catch (error) {
    const code = isFleetError(error) ? error.code : "job-failed";
    await send({
      kind: "error",
      code,
      message: error instanceof Error ? error.message : String(error),
    });
  }
  process.exit(0);
}

/** The heap has a limit of its own; what onnxruntime takes outside of it is looked at here. */
function watchMemory(bytesMax: number): void {
  const timer = setInterval(() => {
    const bytes = process.memoryUsage.rss();
    if (bytes <= bytesMax) return;
    clearInterval(timer);
    const message = `compression took ${bytes} bytes of memory; the limit is ${bytesMax}`;
    void send({ kind: "error", code: "job-failed", message }).then(() => process.exit(1));
  }, memoryLookMs);
}

/**
 * Makes the variants one after the other and evaluates up to two models at a time, each in a child of
 * its own, so that a machine with two cores is used and a bigger one keeps room for its other work.
 */
async function work(order: WorkOrder): Promise<void> {
  const starting = startHelpers();
  const set = readGolden(order);
  const split = splitPool(set, order.split.seed, order.split.sizes);
  const assets = Object.fromEntries(
    Object.entries(order.assetPaths).map(([name, path]) => [name, fileBytes(path)]),
  );
  const recipes = parseRecipes(order.recipesYaml);
  const helpers = await starting;
  const fractions = new Map<string, number>();
  const job = (name: string): Job => ({
    order,
    set,
    split,
    helpers,
    assets,
    say(fraction, message) {
      fractions.set(name, fraction);
      const sum = [...fractions.values()].reduce((total, each) => total + each, 0);
      const whole = sum / (recipes.length + 1);
      void send({ kind: "progress", fraction: whole, message: `${name}: ${message}` });
    },
  });
  const turn = turns(evaluationsAtOnce);
  const source = turn(() => evaluate(job(sourceName), order.sourcePath, sourceSamples(set, split)));
  const results: Promise<void>[] = [source.then(() => {})];
  for (const recipe of recipes) {
    const one = job(recipe.name);
    const made = await make(one, recipe);
    results.push(finish(one, made, source, turn));
  }
  await Promise.all(results);
}

/** As many processes as the machine has a use for; a job gets by without those that do not start. */
async function startHelpers(): Promise<Helper[]> {
  const ports = { processes: systemProcesses(), clock: systemClock() };
  const count = helpersFor(availableParallelism());
  const started = await Promise.allSettled(Array.from({ length: count }, () => startHelper(ports)));
  return started.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
}

/** Runs at most `limit` pieces of work at once, in the order in which they were asked for. */
function turns(limit: number): <T>(run: () => Promise<T>) => Promise<T> {
  const running = new Set<Promise<unknown>>();
  let queue: Promise<unknown> = Promise.resolve();
  return (run) => {
    const begun = queue.then(async () => {
      while (running.size >= limit) await Promise.race(running);
      const work = run();
      const settled: Promise<void> = work.then(
        () => {},
        () => {},
      );
      running.add(settled);
      void settled.then(() => running.delete(settled));
      return { work };
    });
    queue = begun;
    return begun.then(({ work }) => work);
  };
}

async function finish(
  job: Job,
  made: Made,
  source: Promise<Evaluated>,
  turn: ReturnType<typeof turns>,
): Promise<void> {
  const result =
    made.status === "made" ? await evaluateVariant(job, made, await source, turn) : made;
  job.say(1, result.status);
  await send({ kind: "result", result });
}

function readGolden(order: WorkOrder): GoldenSet {
  const open = (name: string) => fileBytes(order.goldenFiles[name]!);
  const manifest = parseGoldenManifest(readAll(open(order.goldenManifest)));
  // Samples stay in their files: what is observed of them needs no more memory for more of them.
  const files = new Map(Object.keys(order.goldenFiles).map((name) => [name, open(name)]));
  return buildGoldenSet(manifest, files);
}

type Evaluated = Evaluation & { ramPeakBytes: number; loadMs: number };

/** Answers on some samples of the pool, at their places in it, in a runner of its own. */
async function evaluate(job: Job, modelPath: string, indices: Uint32Array): Promise<Evaluated> {
  const { set } = job;
  const runner = await startRunner({
    processes: systemProcesses(),
    clock: systemClock(),
    modelPath,
    interface: job.order.interface,
    assetPaths: job.order.assetPaths,
  });
  const run = async (part: Uint32Array) => {
    await runner.setSamples(takeSamples(set, part));
    return runner.evaluate();
  };
  try {
    // Memory is read after a few samples, before this machine's own stock of samples adds to it.
    await run(indices.subarray(0, memorySamples));
    const { ramPeakBytes, loadMs } = await runner.memory();
    const top1 = new Int32Array(set.count).fill(-1);
    const outputs: Float32Array[] = [];
    const slice = sliceSamples(set);
    for (let from = 0; from < indices.length; from += slice) {
      const part = indices.subarray(from, from + slice);
      const answers = await run(part);
      for (const [at, index] of part.entries()) {
        top1[index] = answers.top1[at]!;
        const output = answers.outputs[at];
        if (output !== undefined) outputs[index] = output;
      }
      const done = from + part.length;
      job.say(done / (indices.length + 1), `evaluated ${done} of ${indices.length} samples`);
    }
    return { top1, outputs, ramPeakBytes, loadMs };
  } finally {
    await runner.close();
  }
}

/** Samples that go to the runner at once: bounds its memory. */
function sliceSamples(set: GoldenSet): number {
  const sampleBytes = Object.values(set.inputs)
    .map(goldenSampleBytes)
    .reduce((sum, bytes) => sum + bytes, 0);
  return Math.min(sliceSamplesMax, Math.max(1, Math.floor(sliceBytesMax / sampleBytes)));
}

type Ready = Extract<WorkResult, { status: "ready" }>;
type Ended = Exclude<WorkResult, Ready>;
interface MadeFile {
  readonly status: "made";
  readonly recipe: string;
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly opset: number;
  readonly journal: Ready["journal"];
  readonly allowFallback: boolean;
}
type Made = MadeFile | Ended;

async function make(job: Job, recipe: Recipe): Promise<Made> {
  try {
    job.say(0, "applying passes");
    const made = await applyRecipe({
      modelBytes: new Uint8Array(readFileSync(job.order.sourcePath)),
      recipe,
      workbench: workbenchOf(job.set, job.split, job.order.interface, {
        assets: job.assets,
        cache: cacheOf(job),
        helpers: job.helpers,
      }),
    });
    if (made.outcome === "not-applicable") {
      return { status: "not-applicable", recipe: recipe.name, reason: made.reason };
    }
    const path = join(job.order.scratchDir, `${recipe.name}.onnx`);
    writeFileSync(path, made.bytes);
    const { opset } = Model.decode(made.bytes);
    const journal = journalSchema.parse(made.journal);
    return {
      status: "made",
      recipe: recipe.name,
      path,
      bytes: made.bytes,
      opset,
      journal,
      allowFallback: recipe.allowFallback === true,
    };
  } catch (error) {
    return failureOf(recipe.name, error);
  }
}

function cacheOf({ order, set, split, assets }: Job): CalibrationCache | undefined {
  if (order.calibrationDir === undefined) return undefined;
  return calibrationCache(systemFiles(), order.calibrationDir, {
    set,
    indices: split.calibration,
    interface: order.interface,
    assets,
    runtime: onnxruntimeVersion(),
  });
}

async function evaluateVariant(
  job: Job,
  made: MadeFile,
  source: Evaluated,
  turn: ReturnType<typeof turns>,
): Promise<WorkResult> {
  try {
    const indices = judgedSamples(job.split);
    const evaluated = await turn(() => evaluate(job, made.path, indices));
    const fusion = await fusionOf(made);
    return {
      status: "ready",
      recipe: made.recipe,
      metric: job.set.metric,
      modelBytes: made.bytes,
      opset: made.opset,
      top1: evaluated.top1,
      losses: lossesOf(job, evaluated, indices),
      selection: scoreOf(job.set, job.split.selection, evaluated, source),
      sealed: scoreOf(job.set, job.split.sealed, evaluated, source),
      ...compareWithSource(job.set, job.split.selection, evaluated, source),
      ramPeakBytes: evaluated.ramPeakBytes,
      loadMs: evaluated.loadMs,
      fusion,
      journal: made.journal,
      foretold: await foretoldOf(job, made, source),
      // A runner has loaded the file before, so it is safe to load here.
      shapes: await keptShapes(
        Model.decode(made.bytes),
        workbenchOf(job.set, job.split, job.order.interface, { assets: job.assets }),
      ),
      sourceSelection: scoreOf(job.set, job.split.selection, source, source),
    };
  } catch (error) {
    return failureOf(made.recipe, error);
  }
}

/** What the variant's accuracy is on processors of other kinds than this machine's. */
async function foretoldOf(job: Job, made: MadeFile, source: Evaluated): Promise<Foretold[]> {
  const { order, set, split } = job;
  const isa = await readIsa(systemFiles());
  return foretellElsewhere(
    {
      modelBytes: made.bytes,
      interface: order.interface,
      assets: job.assets,
      set,
      selection: split.selection,
      seed: order.split.seed,
      source,
      here: processorOf({ architecture: process.arch, isa }),
      bound: order.foretellBound,
      clock: systemClock(),
    },
    (message) => job.say(1, message),
  );
}

/** Loss of each judged sample at its place in the pool: what devices must reproduce. */
function lossesOf({ set }: Job, answers: Evaluated, indices: Uint32Array): Ready["losses"] {
  const metric = metricOf(set.metric);
  if (metric?.output !== "tensors") return null;
  const losses = new Float64Array(set.count).fill(Number.NaN);
  const judged = judgeAt(metric, set, answers, indices);
  for (const [at, index] of indices.entries()) losses[index] = judged.losses[at]!;
  return losses;
}

/**
 * What onnxruntime makes of a file that a runner has loaded before, so it is safe to load here. Throws
 * `plan-fell-back` when layers that should run in int8 do not and the recipe does not allow it.
 */
async function fusionOf({ path, journal, recipe, allowFallback }: MadeFile) {
  const optimizedModelPath = `${path}.optimized`;
  const session = await openSession(path, { optimizedModelPath }).catch(() => undefined);
  if (session === undefined) return null;
  await session.release();
  const bytes = new Uint8Array(readFileSync(optimizedModelPath));
  const { integerNodes, floatNodes, conversionNodes } = auditFusion(bytes);
  const { planned, fellBack } = auditPlan(plannedLayers(journal), bytes);
  if (fellBack.length > 0 && !allowFallback) throw planFellBack(recipe, planned, fellBack);
  return {
    integerNodes,
    floatNodes,
    conversionNodes,
    plannedLayers: planned,
    fellBack: [...fellBack],
  };
}

/** A recipe that fails is told and the others go on; a fault of ours ends the job. */
function failureOf(recipe: string, error: unknown): Ended {
  if (!isFleetError(error)) throw error;
  return { status: "failed", recipe, code: error.code, reason: error.message };
}
