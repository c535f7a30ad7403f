/**
 * Trains one version of the digit model on the 12,000 training images. Everything random comes
 * from the version's seed, so the same version gives the same bytes on the same kind of CPU.
 */
import { seededRandom } from "../../../shared/prng.ts";
import { type DigitSet, imageSide } from "../../data/mnist.ts";
import { openTraining } from "../training-session.ts";
import { epochBatches } from "./batches.ts";
import { type DigitVersion, withLabelFault } from "./versions.ts";

const batchSize = 64;
/** Steps over which the learning rate rises, so that the first batches do not throw the start away. */
const warmUpSteps = 100;
/** Keeps weights small, which spends fewer of int8's 255 steps on outliers (AdamW's usual value). */
const weightDecay = 1e-2;

export interface TrainingProgress {
  readonly step: number;
  readonly steps: number;
  /** Mean loss of the latest batches. */
  readonly loss: number;
}

/** Steps that `trainDigits` takes. */
function trainingSteps(version: DigitVersion, imageCount: number): number {
  return version.epochs * Math.floor(imageCount / batchSize);
}

/**
 * Returns the bytes of `startModel` with weights trained on `digits` as the version says.
 * Throws `training-diverged`.
 */
export async function trainDigits(options: {
  readonly version: DigitVersion;
  readonly startModel: Uint8Array;
  readonly digits: DigitSet;
  readonly onProgress?: (progress: TrainingProgress) => void;
}): Promise<Uint8Array> {
  const { version } = options;
  const random = seededRandom(version.seed);
  const digits =
    version.labelFault === null
      ? options.digits
      : withLabelFault(options.digits, version.labelFault, random);
  const training = await openTraining({
    modelBytes: options.startModel,
    inputs: [{ name: "image", shape: [batchSize, 1, imageSide, imageSide] }],
    adam: { weightDecay },
  });
  try {
    const steps = trainingSteps(version, digits.count);
    let step = 0;
    let loss = Number.NaN;
    for (let epoch = 0; epoch < version.epochs; epoch++) {
      const batches = epochBatches(digits, { batchSize, shiftPixels: version.shiftPixels, random });
      for (const feeds of batches) {
        const share = Math.min(1, (step + 1) / warmUpSteps) * (1 - step / steps);
        const batchLoss = await training.trainer.step(feeds, version.learningRate * share);
        step += 1;
        // Moving mean over about 50 batches, for the eye only.
        loss = Number.isNaN(loss) ? batchLoss : 0.98 * loss + 0.02 * batchLoss;
        options.onProgress?.({ step, steps, loss });
      }
    }
    return training.trainedModel();
  } finally {
    await training.close();
  }
}
