/** The models of the shared folder with the data that they were made for. */
import {
  type CifarScaling,
  cifarJpeg,
  cifarLossless,
  normalised,
  plainBytes,
} from "../data/cifar.ts";
import { spokenDigits } from "../data/fsdd.ts";
import { harWindows } from "../data/har.ts";
import { idxImages } from "../data/idx.ts";
import { kwsMfcc } from "../data/kws.ts";
import { sharedBytes } from "../data/shared-files.ts";
import { type LabelledSamples, type Samples, type Subject, topOne } from "../subject.ts";

type Say = (line: string) => void;

interface Facts {
  readonly file: string;
  readonly input: string;
  readonly shape: readonly number[];
  readonly labelled: (say: Say) => LabelledSamples | Promise<LabelledSamples>;
  readonly calibration?: (say: Say) => Samples | Promise<Samples>;
  readonly publishedPercent: number;
  /** The samples of the published figure; the labelled ones when absent. */
  readonly publishedOn?: () => LabelledSamples;
  readonly grid?: "core";
}

/** CIFAR-10 images: calibrated on the train part, published on original pixels. */
function cifarFacts(scaling: CifarScaling) {
  return {
    shape: [3, 32, 32],
    labelled: (say: Say) => cifarJpeg("test", scaling, say),
    calibration: (say: Say) => cifarJpeg("train", scaling, say),
    publishedOn: () => cifarLossless(scaling),
  };
}

const facts: Readonly<Record<string, Facts>> = {
  resnet8: {
    file: "mlperftiny-resnet8-cifar10.onnx",
    input: "input",
    ...cifarFacts(plainBytes),
    publishedPercent: 89.0,
  },
  "resnet8-large": {
    file: "mlperftiny-resnet8large-cifar10.onnx",
    input: "input",
    ...cifarFacts(plainBytes),
    publishedPercent: 94.0,
    grid: "core",
  },
  "alibaba-ic": {
    file: "mlperftiny-v0.7-alibaba-ic.onnx",
    input: "actual_input_1",
    ...cifarFacts(normalised),
    publishedPercent: 85.0,
    grid: "core",
  },
  "ds-cnn": {
    file: "mlperftiny-dscnn-kws.onnx",
    input: "input",
    shape: [1, 49, 10],
    labelled: kwsMfcc,
    publishedPercent: 91.3,
  },
  "alibaba-kws": {
    file: "mlperftiny-v0.7-alibaba-kws.onnx",
    input: "x:0",
    shape: [49, 10, 1],
    labelled: kwsMfcc,
    publishedPercent: 90.8,
  },
  "mnist-8": {
    file: "ms-mnist-8.onnx",
    input: "Input3",
    shape: [1, 28, 28],
    labelled: () => idxImages("mnist-t10k", { scale: 1 }),
    publishedPercent: 98.9,
  },
  "burn-mnist": {
    file: "burn-mnist.onnx",
    input: "input.1",
    shape: [1, 28, 28],
    labelled: () => idxImages("mnist-t10k", { scale: 1 / 255, mean: 0.1307, spread: 0.3081 }),
    publishedPercent: 99.2,
    grid: "core",
  },
  har: {
    file: "har_cnn1d.onnx",
    input: "input",
    shape: [6, 128],
    labelled: () => harWindows("test"),
    calibration: () => harWindows("train"),
    publishedPercent: 92.6,
  },
  fsdd: {
    file: "fsdd_logmel_cnn.onnx",
    input: "input",
    shape: [1, 32, 48],
    labelled: () => spokenDigits("test"),
    calibration: () => spokenDigits("train"),
    publishedPercent: 97.3,
  },
  fashion: {
    file: "fashion_cnn_teacher.onnx",
    input: "input",
    shape: [1, 28, 28],
    labelled: () => idxImages("fashion-mnist", { scale: 1 / 255 }),
    publishedPercent: 90.2,
    grid: "core",
  },
};

export const sharedModelNames = Object.keys(facts);

/** Reads the model and its data. Throws when the shared folder is not there. */
export async function sharedModel(name: string, say: Say): Promise<Subject> {
  const { file, input, shape, ...rest } = facts[name]!;
  const labelled = await rest.labelled(say);
  const calibration = await rest.calibration?.(say);
  return {
    name,
    modelBytes: sharedBytes("models", file),
    input: { name: input, dtype: "float32", shape, isBatched: true },
    labelled,
    ...(calibration && { calibration }),
    isRight: topOne(labelled.labels),
    published: { percent: rest.publishedPercent, samples: rest.publishedOn?.() ?? labelled },
    grid: rest.grid ?? "full",
  };
}
