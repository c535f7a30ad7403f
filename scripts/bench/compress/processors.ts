/**
 * One int8 file on several processors: what the emulation foretells for x86 without VNNI, and what
 * onnxruntime gives there; the same of a file of signed activations on Arm. x86 keeps some layers of such a
 * file in float32, so its answers are shown beside them and need not be the same.
 *
 * Nothing is timed: the processors are emulated.
 */
import { applyRecipe } from "../../../controller/compress/compress.ts";
import { foretell } from "../../../controller/compress/emulate/emulate.ts";
import { saturationRisks } from "../../../controller/compress/emulate/saturation.ts";
import type { TensorValue } from "../../../controller/compress/execute.ts";
import { loadModel } from "../../../controller/jobs/workbench.ts";
import { Model } from "../../../controller/onnx/model.ts";
import type { Processor } from "../../../shared/devices/processor.ts";
import type { Feed } from "../../../shared/inference/session.ts";
import { atLeast, atMost, type Outcome, type Row } from "../frame.ts";
import { answersOf, feedOf, rightAnswers } from "./answer.ts";
import { preparationRecipe } from "./candidates.ts";
import { type ForeignProcessor, foreignProcessor } from "./foreign-processors.ts";
import { type Answer, halvesOf, type Subject, takeSamples } from "./subject.ts";
import { subjectWorkbench } from "./workbench.ts";

/** Samples per file: an emulated processor is two to three orders slower. */
const sampleCount = 200;

/**
 * A float operator in front of the codes, as the normalisation of `har`, may differ in its last bit on Arm,
 * and with it a code.
 */
const armWrongMax = 0.01;

/** Models that must agree. */
const subjectsMin = 3;

/**
 * What float operators at a model's end may differ by between Arm and x86, as a share of the largest
 * value; one code of an output is a thousand times more.
 */
const floatTolerance = 1e-6;

/** Options of quantize-static for each file. */
const forms = {
  U8S8: {},
  "U8S8 pair-aware": { weightScale: { strategy: "pair-aware" } },
  "U8S8 reduced range": { reduceRange: true },
} as const;

interface HaswellResult {
  readonly pairsAtRisk: number;
  /** Numbers that the emulation gives otherwise than the runtime there. */
  readonly wrongNumbers: number;
  readonly numbers: number;
  /** Percent of right answers: on this x86 or on VNNI, foretold for the processor, measured there. */
  readonly here: number;
  readonly foretold: number;
  readonly measured: number;
}

type ArmResult = Omit<HaswellResult, "pairsAtRisk">;

/** Compares the processors on each subject. Throws when a processor cannot be set up. */
export async function compareProcessors(
  subjects: readonly Subject[],
  say: (line: string) => void,
): Promise<Outcome> {
  const haswell = foreignProcessor("haswell", say);
  const cortex = foreignProcessor("cortex-a72", say);
  const rows: Row[] = [];
  const results: HaswellResult[] = [];
  const armResults: ArmResult[] = [];
  for (const subject of subjects) {
    for (const [form, options] of Object.entries(forms)) {
      say(`${subject.name}: ${form} on Haswell`);
      const result = await onHaswell(subject, await quantized(subject, options), haswell);
      results.push(result);
      rows.push({ model: subject.name, file: form, processor: "Haswell", ...result });
    }
    say(`${subject.name}: S8S8 on Arm`);
    const file = await quantized(subject, { activations: "int8" });
    const arm = await onArm(subject, file, cortex);
    armResults.push(arm);
    rows.push({ model: subject.name, file: "S8S8", processor: "Cortex-A72", ...arm });
  }
  return {
    rows,
    bars: [
      atLeast("models emulated", subjects.length, subjectsMin),
      atMost("numbers that the emulation of AVX2 gets wrong", wrongIn(results), 0),
      atMost("accuracy without VNNI foretold, off by points", worstGap(results), 0),
      atMost(
        "share of the numbers of S8S8 files that the emulation of Arm gets wrong",
        wrongIn(armResults) / numbersIn(armResults),
        armWrongMax,
      ),
      atMost("accuracy of S8S8 on Arm foretold, off by points", worstGap(armResults), 0),
    ],
  };
}

function wrongIn(results: readonly ArmResult[]): number {
  return results.reduce((sum, { wrongNumbers }) => sum + wrongNumbers, 0);
}

function numbersIn(results: readonly ArmResult[]): number {
  return results.reduce((sum, { numbers }) => sum + numbers, 0);
}

function worstGap(results: readonly ArmResult[]): number {
  return Math.max(...results.map(({ foretold, measured }) => Math.abs(foretold - measured)));
}

async function quantized(
  subject: Subject,
  options: Readonly<Record<string, unknown>>,
): Promise<Uint8Array> {
  const { passes, ...recipe } = preparationRecipe();
  const made = await applyRecipe({
    modelBytes: subject.modelBytes,
    recipe: { ...recipe, passes: [...passes, { pass: "quantize-static", options }] },
    workbench: subjectWorkbench(subject),
  });
  if (made.outcome !== "made") throw new Error(`${subject.name}: ${made.reason}`);
  return made.bytes;
}

async function onHaswell(
  subject: Subject,
  file: Uint8Array,
  haswell: ForeignProcessor,
): Promise<HaswellResult> {
  const { feeds, percentOf } = samplesOf(subject);
  const foretold = await emulated(file, feeds, "avx2");
  const measured = haswell.run(file, feeds);
  const risks = saturationRisks(Model.decode(file));
  return {
    pairsAtRisk: risks.reduce((sum, { pairsAtRisk }) => sum + pairsAtRisk, 0),
    numbers: foretold.reduce((sum, answer) => sum + answer.length, 0),
    wrongNumbers: foretold.reduce(
      (sum, answer, at) => sum + answer.filter((value, k) => value !== measured[at]![k]).length,
      0,
    ),
    here: percentOf(await emulated(file, feeds, "vnni")),
    foretold: percentOf(foretold),
    measured: percentOf(measured),
  };
}

async function onArm(
  subject: Subject,
  file: Uint8Array,
  cortex: ForeignProcessor,
): Promise<ArmResult> {
  const { samples, feeds, percentOf } = samplesOf(subject);
  const foretold = await emulated(file, feeds, "arm");
  const measured = cortex.run(file, feeds);
  const largest = Math.max(...measured.flatMap((answer) => [...answer].map(Math.abs)));
  const gaps = foretold.flatMap((answer, at) =>
    Array.from(answer, (value, k) => Math.abs(value - measured[at]![k]!) / largest),
  );
  return {
    wrongNumbers: gaps.filter((gap) => gap > floatTolerance).length,
    numbers: gaps.length,
    here: percentOf(await answersOf(file, subject, samples)),
    foretold: percentOf(foretold),
    measured: percentOf(measured),
  };
}

function samplesOf(subject: Subject) {
  const indices = halvesOf(subject.labelled.count).compare.slice(0, sampleCount);
  const samples = takeSamples(subject, subject.labelled, indices);
  return {
    samples,
    feeds: Array.from(indices, (_, at) => feedOf(subject, samples, at, 1)),
    percentOf: (answers: readonly Answer[]): number => {
      const right = rightAnswers(subject, answers, indices).filter(Boolean).length;
      return (100 * right) / answers.length;
    },
  };
}

/** The first output for each feed, as a processor gives it. */
async function emulated(
  file: Uint8Array,
  feeds: readonly Feed[],
  processor: Processor,
): Promise<Answer[]> {
  const model = Model.decode(file);
  const [input] = model.graph.inputNames;
  const [output] = model.graph.outputNames;
  const samples = feeds.map(
    ({ dtype, shape, data }) => new Map([[input!, { type: dtype, shape, data } as TensorValue]]),
  );
  const outputs = await foretell(model, samples, { processor, load: loadModel });
  return outputs.map((named) => named.get(output!)!.data as Float32Array);
}
