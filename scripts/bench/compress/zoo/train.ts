/** Trains the nets of the zoo: Adam with a warm-up and a falling rate, everything random from the seed. */
import type { Loss } from "../../../../controller/train/loss.ts";
import type { FloatTensor } from "../../../../controller/train/trainer.ts";
import { permutation, type Random, seededRandom } from "../../../../shared/prng.ts";
import { openTraining } from "../../../models/training-session.ts";

export interface TrainingTask {
  /** The training form, with one float32 input `input` and the output that the loss judges. */
  readonly net: Uint8Array;
  readonly inputShape: readonly number[];
  /** Samples one after the other, in the net's form. */
  readonly inputs: Float32Array;
  /** What the output should be, per sample: a distribution over classes, or values. */
  readonly targets: Float32Array;
  readonly count: number;
  readonly epochs: number;
  readonly learningRate: number;
  readonly loss?: Loss;
  /** Changes one sample's copy before it is used. */
  readonly augment?: (sample: Float32Array, random: Random) => void;
}

const batchSize = 64;
const warmUpSteps = 60;
const weightDecay = 1e-2;
const seed = 5;

/** The net with trained weights. Throws `training-diverged`. */
export async function train(task: TrainingTask, say: (line: string) => void): Promise<Uint8Array> {
  const training = await openTraining({
    modelBytes: task.net,
    inputs: [{ name: "input", shape: [batchSize, ...task.inputShape] }],
    adam: { weightDecay },
    ...(task.loss && { loss: task.loss }),
  });
  const random = seededRandom(seed);
  const stepsPerEpoch = Math.floor(task.count / batchSize);
  const steps = stepsPerEpoch * task.epochs;
  try {
    let step = 0;
    for (let epoch = 0; epoch < task.epochs; epoch++) {
      let loss = 0;
      for (const feeds of batches(task, random)) {
        const share = Math.min(1, (step + 1) / warmUpSteps) * (1 - step / steps);
        loss += await training.trainer.step(feeds, task.learningRate * share);
        step++;
      }
      say(
        `trained epoch ${epoch + 1} of ${task.epochs}, loss ${(loss / stepsPerEpoch).toFixed(3)}`,
      );
    }
    return training.trainedModel();
  } finally {
    await training.close();
  }
}

/** Batches of one epoch in a new order, in memory that is used again; a rest is left out. */
function* batches(task: TrainingTask, random: Random): Generator<ReadonlyMap<string, FloatTensor>> {
  const { inputs, targets, count, inputShape, augment } = task;
  const length = inputs.length / count;
  const width = targets.length / count;
  const input = new Float32Array(batchSize * length);
  const target = new Float32Array(batchSize * width);
  const feeds = new Map([
    ["input", { data: input, shape: [batchSize, ...inputShape] }],
    ["target", { data: target, shape: [batchSize, width] }],
  ]);
  const order = permutation(random, count);
  for (let start = 0; start + batchSize <= count; start += batchSize) {
    for (let slot = 0; slot < batchSize; slot++) {
      const index = order[start + slot]!;
      const sample = input.subarray(slot * length, (slot + 1) * length);
      sample.set(inputs.subarray(index * length, (index + 1) * length));
      augment?.(sample, random);
      target.set(targets.subarray(index * width, (index + 1) * width), slot * width);
    }
    yield feeds;
  }
}

/** Rows with a single 1 at each label. */
export function oneHot(labels: ArrayLike<number>, classes: number): Float32Array {
  const rows = new Float32Array(labels.length * classes);
  for (let at = 0; at < labels.length; at++) rows[at * classes + labels[at]!] = 1;
  return rows;
}
