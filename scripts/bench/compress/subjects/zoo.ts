/** Nets that the benchmark trains for itself on its first run. */
import { decodeModel, encodeModel } from "../../../../controller/onnx/proto.ts";
import { withWeights } from "../../../../controller/train/training-graph.ts";
import { type Random, seededRandom } from "../../../../shared/prng.ts";
import { type DigitSet, loadMnist, takeDigits, trainingIndices } from "../../../data/mnist.ts";
import { answersOf } from "../answer.ts";
import { cifarJpeg, normalised } from "../data/cifar.ts";
import {
  type Answer,
  halvesOf,
  type LabelledSamples,
  type Subject,
  takeSamples,
  topOne,
} from "../subject.ts";
import { autoencoder, squaredError } from "../zoo/autoencoder.ts";
import { trainedOnce } from "../zoo/kept.ts";
import { type Gate, mobileNet } from "../zoo/mobile-net.ts";
import { weightsByName } from "../zoo/net.ts";
import { type Cell, rolled, unrolled } from "../zoo/recurrent.ts";
import {
  type Command,
  commands,
  intentCount,
  languages,
  textLength,
  textNet,
  tokenizerOf,
  tokensOf,
  wordsIn,
} from "../zoo/text.ts";
import { oneHot } from "../zoo/train.ts";
import { transformer } from "../zoo/transformer.ts";

type Say = (line: string) => void;

const classes = 10;

/** A net of inverted residuals on the CIFAR-10 images. */
export async function mobileNetSubject(gate: Gate, say: Say): Promise<Subject> {
  const part = (name: "train" | "test") => cifarJpeg(name, normalised, say);
  const [training, labelled] = [await part("train"), await part("test")];
  const task = {
    net: mobileNet(gate, "training"),
    inputShape: [3, 32, 32],
    ...targetsOf(training),
    epochs: 10,
    learningRate: 4e-3,
    augment: mirrored,
  };
  const trained = await trainedOnce(`mobile-net-${gate}`, task, say);
  return {
    name: `mobile-net-${gate}`,
    modelBytes: withWeightsOf(mobileNet(gate, "file"), trained),
    input: { name: "input", dtype: "float32", shape: [3, 32, 32], isBatched: true },
    labelled,
    calibration: training,
    isRight: topOne(labelled.labels),
    grid: "full",
  };
}

/** A recurrent net that reads digits row by row. */
export async function recurrentSubject(cell: Cell, say: Say): Promise<Subject> {
  const { training, labelled } = digits();
  const task = {
    net: unrolled(cell),
    inputShape: [28, 28],
    ...targetsOf(training),
    epochs: 5,
    learningRate: 4e-3,
  };
  const trained = await trainedOnce(cell.toLowerCase(), task, say);
  return {
    name: cell.toLowerCase(),
    modelBytes: rolled(cell, trained),
    input: { name: "input", dtype: "float32", shape: [28, 28], isBatched: true },
    labelled,
    calibration: training,
    isRight: topOne(labelled.labels),
    grid: "core",
  };
}

export async function transformerSubject(say: Say): Promise<Subject> {
  const { training, labelled } = digits();
  const task = {
    net: transformer(),
    inputShape: [28, 28],
    ...targetsOf(training),
    epochs: 5,
    learningRate: 2e-3,
  };
  return {
    name: "transformer",
    modelBytes: await trainedOnce("transformer", task, say),
    input: { name: "input", dtype: "float32", shape: [28, 28], isBatched: true },
    labelled,
    calibration: training,
    isRight: topOne(labelled.labels),
    grid: "core",
  };
}

/** Images turned by a half are the anomalies. */
export async function autoencoderSubject(say: Say): Promise<Subject> {
  const { training, labelled: upright } = digits();
  const pixels = 28 * 28;
  const data = (upright.data as Float32Array<ArrayBuffer>).slice();
  const labels = new Uint8Array(upright.count);
  for (let image = 1; image < upright.count; image += 2) {
    data.subarray(image * pixels, (image + 1) * pixels).reverse();
    labels[image] = 1;
  }
  const labelled = { data, count: upright.count, labels };
  const inputs = training.data as Float32Array;
  const task = {
    net: autoencoder(),
    inputShape: [pixels],
    inputs,
    targets: inputs,
    count: training.count,
    epochs: 6,
    learningRate: 2e-3,
    loss: squaredError,
  };
  const modelBytes = await trainedOnce("autoencoder", task, say);
  const errorOf = (answer: Answer, index: number): number =>
    answer.reduce((sum, value, at) => sum + (value - data[index * pixels + at]!) ** 2, 0);
  const base: Subject = {
    name: "autoencoder",
    modelBytes,
    input: { name: "input", dtype: "float32", shape: [pixels], isBatched: true },
    labelled,
    calibration: training,
    isRight: () => false,
    grid: "core",
  };
  const { pick } = halvesOf(labelled.count);
  const answers = await answersOf(modelBytes, base, takeSamples(base, labelled, pick));
  const errors = answers.map((answer, at) => errorOf(answer, pick[at]!));
  const limit = bestLimit(
    errors,
    Array.from(pick, (index) => labels[index]!),
  );
  return { ...base, isRight: (answer, at) => errorOf(answer, at) > limit === (labels[at] === 1) };
}

/** The error that parts the labels 0 and 1 best. */
function bestLimit(errors: readonly number[], labels: readonly number[]): number {
  const rightAt = (limit: number): number =>
    errors.filter((error, at) => error > limit === (labels[at] === 1)).length;
  return errors.toSorted((a, b) => rightAt(b) - rightAt(a))[0]!;
}

/** Short commands in two languages. */
export async function textSubject(say: Say): Promise<Subject> {
  const random = seededRandom(61);
  const training = commands(trainingCommands, random);
  const known = wordsIn(training);
  const tokenizer = tokenizerOf(known);
  const tested = commands(testedCommands, random);
  const samples = (corpus: readonly Command[]): LabelledSamples => ({
    data: tokensOf(corpus, tokenizer),
    count: corpus.length,
    labels: corpus.map(({ intent }) => intent),
  });
  const words = known.length + 2;
  const task = {
    net: textNet("training", words, intentCount),
    inputShape: [textLength],
    inputs: Float32Array.from(tokensOf(training, tokenizer), Number),
    targets: oneHot(
      training.map(({ intent }) => intent),
      intentCount,
    ),
    count: training.length,
    epochs: 8,
    learningRate: 4e-3,
  };
  const trained = await trainedOnce("text", task, say);
  const labelled = samples(tested);
  return {
    name: "text",
    modelBytes: withWeightsOf(textNet("file", words, intentCount), trained),
    input: { name: "input", dtype: "int64", shape: [textLength], isBatched: true },
    labelled,
    calibration: samples(training),
    isRight: topOne(labelled.labels),
    slices: { names: languages, of: tested.map(({ language }) => language) },
    grid: "core",
  };
}

const trainingCommands = 4_000;
const testedCommands = 6_000;

function digits(): { training: LabelledSamples; labelled: LabelledSamples } {
  const { train, test } = loadMnist();
  return {
    training: digitSamples(takeDigits(train, trainingIndices())),
    labelled: digitSamples(test),
  };
}

function targetsOf({ data, count, labels }: LabelledSamples) {
  return { inputs: data as Float32Array, targets: oneHot(labels, classes), count };
}

function digitSamples({ images, labels, count }: DigitSet): LabelledSamples {
  return { data: Float32Array.from(images, (byte) => byte / 255), labels, count };
}

/** Half of the images left to right. */
function mirrored(image: Float32Array, random: Random): void {
  if (random.nextInt(2) === 0) return;
  const side = 32;
  for (let row = 0; row < image.length; row += side) image.subarray(row, row + side).reverse();
}

/** The same names hold the same weights in both forms of a net. */
function withWeightsOf(file: Uint8Array, trained: Uint8Array): Uint8Array {
  return encodeModel(withWeights(decodeModel(file), weightsByName(trained)));
}
