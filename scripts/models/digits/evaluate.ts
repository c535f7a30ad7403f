/** What a digit model answers on a set of images: the judge of the trained versions. */
import { type DigitSet, digitClasses, imageBytes, imageSide } from "../../data/mnist.ts";
import { openRunner } from "../ort-runner.ts";
import { pixelScale } from "./batches.ts";

const batchSize = 250;

/** The class with the highest logit per image: uint8 [count]. Ties go to the smaller class. */
export async function predictDigits(modelBytes: Uint8Array, digits: DigitSet): Promise<Uint8Array> {
  const runner = await openRunner(modelBytes);
  try {
    const answers = new Uint8Array(digits.count);
    for (let start = 0; start < digits.count; start += batchSize) {
      const count = Math.min(batchSize, digits.count - start);
      const pixels = digits.images.subarray(start * imageBytes, (start + count) * imageBytes);
      const data = new Float32Array(pixels.length);
      for (let index = 0; index < data.length; index++) data[index] = pixels[index]! * pixelScale;
      const image = { data, shape: [count, 1, imageSide, imageSide] };
      const results = await runner.runAll(new Map([["image", image]]));
      const logits = results.get("logits")!.data;
      for (let index = 0; index < count; index++) {
        answers[start + index] = highest(logits, index * digitClasses);
      }
    }
    return answers;
  } finally {
    await runner.close();
  }
}

/** Share of answers that equal the labels. */
export function accuracyOf(answers: Uint8Array, labels: Uint8Array): number {
  let right = 0;
  for (let index = 0; index < answers.length; index++) {
    if (answers[index] === labels[index]) right += 1;
  }
  return right / answers.length;
}

function highest(logits: Float32Array, start: number): number {
  let best = 0;
  for (let index = 1; index < digitClasses; index++) {
    if (logits[start + index]! > logits[start + best]!) best = index;
  }
  return best;
}
