/**
 * Segmentation: intersection over union per class that occurs in a sample or its answer, averaged over
 * these classes, then over samples. The model puts out one score per class and place, classes first
 * ([classes, height, width]); the target is the class of each place, −1 where nobody knows.
 */
import { FleetError } from "../../errors.ts";
import { meanMetric } from "./mean-metric.ts";

export const meanIou = meanMetric({
  truth: "targets",
  output: "tensors",
  says: "mean overlap of the classes",
  lossOf(at, answered, truth) {
    const scores = answered.outputs[at] ?? new Float32Array();
    const target = truth.targets[at]!;
    const classes = scores.length / target.length;
    if (!Number.isInteger(classes) || classes < 1) {
      throw new FleetError(
        "golden-mismatch",
        `the model puts out ${scores.length} scores for ${target.length} places`,
      );
    }
    return 1 - overlap(scores, target, classes);
  },
  rule: { valueAt: (loss) => 1 - loss, lossAt: (value) => 1 - value, linear: true },
});

function overlap(scores: Float32Array, target: Float32Array, classes: number): number {
  const places = target.length;
  const both = new Uint32Array(classes);
  const either = new Uint32Array(classes);
  for (let place = 0; place < places; place++) {
    const truth = target[place]!;
    if (truth < 0) continue;
    let best = 0;
    for (let index = 1; index < classes; index++) {
      if (scores[index * places + place]! > scores[best * places + place]!) best = index;
    }
    if (best === truth) both[best]!++;
    else if (truth < classes) either[truth]!++;
    if (best !== truth || truth < classes) either[best]!++;
  }
  const present = [...either.keys()].filter((index) => either[index]! > 0);
  const sum = present.reduce((total, index) => total + both[index]! / either[index]!, 0);
  return present.length === 0 ? 1 : sum / present.length;
}
