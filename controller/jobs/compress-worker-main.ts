/**
 * One compression job in a process of its own: applies each recipe, evaluates what came out over the
 * whole golden pool, and hands the files to the controller. It leaves when its parent is gone.
 *
 * Invariant: calibration sees calibration samples only; floors are judged on sealed ones.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../shared/adapters/system-clock.ts";
import { systemProcesses } from "../../shared/adapters/system-processes.ts";
import { isFleetError } from "../../shared/errors.ts";
import {
  buildGoldenSet,
  type GoldenSet,
  parseGoldenManifest,
  takeSamples,
} from "../../shared/evaluation/golden-set.ts";
import { type GoldenSplit, splitPool } from "../../shared/evaluation/golden-split.ts";
import { type Evaluation, startRunner } from "../../shared/inference/runner.ts";
import { applyRecipe } from "../compress/compress.ts";
import { parseRecipes, type Recipe } from "../compress/recipe.ts";
import { Model } from "../onnx/model.ts";
import { calibrator } from "./calibrate.ts";
import { compareWithSource, scoresOf } from "./score.ts";
import {
  type WorkerMessage,
  type WorkOrder,
  type WorkResult,
  workOrderSchema,
} from "./worker-protocol.ts";

/** Samples that go to the runner at once: bounds its memory. */
const sliceSamples = 2_000;

const memoryLookMs = 250;

interface Job {
  readonly order: WorkOrder;
  readonly set: GoldenSet;
  readonly split: GoldenSplit;
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

async function work(order: WorkOrder): Promise<void> {
  const set = readGolden(order);
  const split = splitPool(set, order.splitSeed);
  const recipes = parseRecipes(order.recipesYaml);
  const steps = recipes.length + 1;
  const job = (step: number, name: string): Job => ({
    order,
    set,
    split,
    say: (fraction, message) =>
      void send({
        kind: "progress",
        fraction: (step + fraction) / steps,
        message: `${name}: ${message}`,
      }),
  });
  const source = await evaluate(job(0, "source"), order.sourcePath);
  for (const [index, recipe] of recipes.entries()) {
    const result = await runRecipe(job(index + 1, recipe.name), recipe, source);
    await send({ kind: "result", result });
  }
}

function readGolden(order: WorkOrder): GoldenSet {
  const read = (path: string) => new Uint8Array(readFileSync(path));
  const manifest = parseGoldenManifest(read(order.goldenFiles[order.goldenManifest]!));
  const files = new Map(
    Object.entries(order.goldenFiles).map(([name, path]) => [name, read(path)]),
  );
  return buildGoldenSet(manifest, files);
}

type Evaluated = Evaluation & { ramPeakBytes: number; loadMs: number };

/** Answers over the whole pool, in a runner of its own. */
async function evaluate(job: Job, modelPath: string): Promise<Evaluated> {
  const { set } = job;
  const runner = await startRunner({
    processes: systemProcesses(),
    clock: systemClock(),
    modelPath,
    interface: job.order.interface,
  });
  try {
    const top1 = new Int32Array(set.count);
    const outputs: Float32Array[] = [];
    for (let from = 0; from < set.count; from += sliceSamples) {
      const count = Math.min(sliceSamples, set.count - from);
      const indices = Uint32Array.from({ length: count }, (_, at) => from + at);
      await runner.setSamples(takeSamples(set, indices));
      const part = await runner.evaluate();
      top1.set(part.top1, from);
      outputs.push(...part.outputs);
      job.say((from + count) / set.count, `evaluated ${from + count} of ${set.count} samples`);
    }
    const { ramPeakBytes, loadMs } = await runner.memory();
    return { top1, outputs, ramPeakBytes, loadMs };
  } finally {
    await runner.close();
  }
}

async function runRecipe(job: Job, recipe: Recipe, source: Evaluated): Promise<WorkResult> {
  try {
    job.say(0, "applying passes");
    const made = await applyRecipe({
      modelBytes: new Uint8Array(readFileSync(job.order.sourcePath)),
      recipe,
      calibrate: calibrator(job.set, job.split.calibration, job.order.interface),
    });
    if (made.outcome === "not-applicable") {
      return { status: "not-applicable", recipe: recipe.name, reason: made.reason };
    }
    const path = join(job.order.scratchDir, `${recipe.name}.onnx`);
    writeFileSync(path, made.bytes);
    const evaluated = await evaluate(job, path);
    return {
      status: "ready",
      recipe: recipe.name,
      metric: job.set.metric,
      modelBytes: made.bytes,
      opset: Model.decode(made.bytes).opset,
      top1: evaluated.top1,
      ...scoresOf(job.set, job.split, evaluated, source),
      ...compareWithSource(job.set, job.split.selection, evaluated, source),
      ramPeakBytes: evaluated.ramPeakBytes,
      loadMs: evaluated.loadMs,
    };
  } catch (error) {
    if (!isFleetError(error)) throw error;
    return { status: "failed", recipe: recipe.name, code: error.code, reason: error.message };
  }
}
