/**
 * Foretells the accuracy of a variant on processors of other kinds than this machine's, by emulating them
 * on a bounded number of selection samples, drawn by seed.
 *
 * Cases, for each processor:
 * 1. The variant has no layer that any processor runs in integers: nothing is told, since floats differ by
 *    rounding alone.
 * 2. It has an integer layer without emulation: not foretold, and the operator is named.
 * 3. x86 with and without VNNI differ in pairs of products that saturate and in nothing else: without a
 *    pair at risk the variant answers there as here.
 * 4. Else it is emulated, exactly on integers, and judged against the source on the same samples.
 *
 * Invariants: samples and time end it, never what was found; a fault of the emulation is told and fails no
 * variant that runs.
 */
import type { Foretold } from "../../shared/api/evaluation.ts";
import type { ModelInterface } from "../../shared/artifact/bundle.ts";
import { type Processor, processorNames, processors } from "../../shared/devices/processor.ts";
import type { GoldenSet } from "../../shared/evaluation/golden-set.ts";
import { type Assets, samplePreparer } from "../../shared/inference/processing/registry.ts";
import type { Clock } from "../../shared/ports/clock.ts";
import { permutation, seededRandom } from "../../shared/prng.ts";
import { fitted } from "../compress/calibration/fit.ts";
import { type Emulation, emulate } from "../compress/emulate/emulate.ts";
import { saturationRisks } from "../compress/emulate/saturation.ts";
import type { Feeds, Outputs } from "../compress/execute.ts";
import { nodeLabel } from "../compress/quantize/selection.ts";
import { Model } from "../onnx/model.ts";
import type { ForetellBound } from "./foretell-bound.ts";
import { type Answers, compareWithSource, exactScoreOf } from "./score.ts";
import { answersOf, batches, loadModel } from "./workbench.ts";

/** Fewest that can decide: with nine samples, all of them worse, McNemar's p is above 0.001. */
const samplesMin = 10;

export interface ForetellJob {
  readonly modelBytes: Uint8Array;
  readonly interface: ModelInterface;
  /** Files that the interface reads. */
  readonly assets: Assets;
  readonly set: GoldenSet;
  /** Places in the pool that are drawn from, and what decides which ones. */
  readonly selection: Uint32Array;
  readonly seed: number;
  /** The source's answers to them. */
  readonly source: Answers;
  /** This machine's kind, whose accuracy is measured; undefined when it is none that is known. */
  readonly here: Processor | undefined;
  readonly bound: ForetellBound;
  readonly clock: Clock;
}

/** One entry per kind of processor but this machine's; none for a variant without integer layers. */
export async function foretellElsewhere(
  job: ForetellJob,
  say: (message: string) => void,
): Promise<Foretold[]> {
  if (job.bound.samplesMax === 0) return [];
  const model = Model.decode(job.modelBytes);
  if (!processors.some((processor) => hasIntegers(model, processor))) return [];
  const told: Foretold[] = [];
  for (const processor of processors.filter((each) => each !== job.here)) {
    say(`foretelling ${processorNames[processor]}`);
    try {
      told.push(await foretellOn(job, model, processor));
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      told.push({ processor, outcome: "not-foretold", why });
    }
  }
  return told;
}

function hasIntegers(model: Model, processor: Processor): boolean {
  const { emulated, notEmulated } = emulate(model, { processor, load: loadModel });
  return emulated.length + notEmulated.length > 0;
}

async function foretellOn(job: ForetellJob, model: Model, processor: Processor): Promise<Foretold> {
  const { set, seed, selection, source, bound } = job;
  const emulation = emulate(model, { processor, load: loadModel });
  if (emulation.notEmulated.length > 0) {
    const why = operatorsOf(model, emulation.notEmulated);
    return { processor, outcome: "not-foretold", why };
  }
  if (answersAlike(model, processor, job.here)) return { processor, outcome: "as-here" };
  const drawn = permutation(seededRandom(seed), selection.length)
    .subarray(0, bound.samplesMax)
    .map((at) => selection[at]!);
  const outputs = await outputsWithin(job, emulation, samplesFor(model, job, drawn));
  if (outputs.length < Math.min(samplesMin, drawn.length)) {
    const why = `${outputs.length} samples took too long for ${samplesMin} to fit into ${bound.timeMaxMs} ms`;
    return { processor, outcome: "not-foretold", why };
  }
  const indices = drawn.subarray(0, outputs.length);
  const answers = answersOf(set, indices, job.interface, outputs);
  return {
    processor,
    outcome: "foretold",
    score: exactScoreOf(set, indices, answers, source),
    ...compareWithSource(set, indices, answers, source),
  };
}

/** Operators of the nodes with these labels, each once. */
function operatorsOf({ graph }: Model, labels: readonly string[]): string {
  const nodes = graph.nodes.filter((node) => labels.includes(nodeLabel(node)));
  return [...new Set(nodes.map(({ opType }) => opType))].join(", ");
}

/** True when no input can make a difference between both processors, as far as all layers are emulated. */
function answersAlike(model: Model, processor: Processor, here: Processor | undefined): boolean {
  const isX86 = (each: Processor | undefined) => each === "vnni" || each === "avx2";
  if (!isX86(processor) || !isX86(here)) return false;
  return saturationRisks(model).every(({ pairsAtRisk }) => pairsAtRisk === 0);
}

function* samplesFor(model: Model, job: ForetellJob, indices: Uint32Array): Generator<Feeds> {
  const ranks = new Map(
    model.graph.inputs.map(({ name, type }) => [name, type?.tensorType?.shape?.dim.length]),
  );
  const prepare = samplePreparer(job.interface, job.assets);
  for (const feeds of batches(job.set, indices, job.interface, prepare)) {
    yield new Map(
      [...feeds].map(([name, value]) => [
        name,
        { ...value, shape: fitted(value.shape, ranks.get(name)) },
      ]),
    );
  }
}

/**
 * Outputs of as many samples as fit into the time. Each of the first ones has its share of it, so that a model
 * too slow for a verdict is given up after one.
 */
async function outputsWithin(
  { bound, clock }: ForetellJob,
  emulation: Emulation,
  samples: Iterable<Feeds>,
): Promise<Outputs[]> {
  const outputs: Outputs[] = [];
  let spentMs = 0;
  try {
    for (const feeds of samples) {
      if (spentMs > bound.timeMaxMs * Math.min(1, outputs.length / samplesMin)) break;
      const startMs = clock.monotonicMs();
      outputs.push(await emulation.run(feeds));
      spentMs += clock.monotonicMs() - startMs;
      // An emulated layer holds up messages and timers of this process.
      await clock.sleep(0);
    }
  } finally {
    await emulation.close();
  }
  return outputs;
}
