/** Nets that the benchmark trains for itself on its first run. */
import { decodeModel, encodeModel } from "../../../../controller/onnx/proto.ts";
import { withWeights } from "../../../../controller/train/training-graph.ts";
import type { Random } from "../../../../shared/prng.ts";
import { type DigitSet, loadMnist, takeDigits, trainingIndices } from "../../../data/mnist.ts";
import { cifarJpeg, normalised } from "../data/cifar.ts";
import { type LabelledSamples, type Subject, topOne } from "../subject.ts";
import { trainedOnce } from "../zoo/kept.ts";
import { type Gate, mobileNet } from "../zoo/mobile-net.ts";
import { weightsByName } from "../zoo/net.ts";
import { type Cell, rolled, unrolled } from "../zoo/recurrent.ts";
import { oneHot } from "../zoo/train.ts";

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
  const { train, test } = loadMnist();
  const training = digitSamples(takeDigits(train, trainingIndices()));
  const labelled = digitSamples(test);
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
