/** Runs models on a subject's samples for our recipes, as a controller does on a golden set. */
import type { Feeds, TensorValue, Workbench } from "../../../controller/compress/execute.ts";
import { loadModel } from "../../../controller/jobs/workbench.ts";
import { feedOf } from "./answer.ts";
import { calibrationOf, halvesOf, type Samples, type Subject, takeSamples } from "./subject.ts";

/** Samples of `pick` that passes may choose by. */
const heldOutCount = 300;

/** `calibration` are the samples to observe, those that the rivals observe too by default. */
export function subjectWorkbench(
  subject: Subject,
  calibration: Samples = calibrationOf(subject),
): Workbench {
  const { pick } = halvesOf(subject.labelled.count);
  const indices = pick.slice(-heldOutCount);
  const heldOut = takeSamples(subject, subject.labelled, indices);
  return {
    load: loadModel,
    calibration: () => batches(subject, calibration),
    heldOut: () => batches(subject, heldOut),
    judge: {
      losses: (outputs) =>
        Float64Array.from(outputs, (named, at) => {
          const answer = [...named.values()][0]!.data as Float32Array;
          return subject.isRight(answer, indices[at]!) ? 0 : 1;
        }),
    },
  };
}

function* batches(subject: Subject, samples: Samples): Generator<Feeds> {
  for (let at = 0; at < samples.count; at++) {
    const { dtype, shape, data } = feedOf(subject, samples, at, 1);
    yield new Map([[subject.input.name, { type: dtype, shape, data } as TensorValue]]);
  }
}
