/** Runs models on a subject's samples for our recipes, as a controller does on a golden set. */
import type { CalibrationCache } from "../../../controller/compress/calibration/cache.ts";
import type { Feeds, TensorValue, Workbench } from "../../../controller/compress/execute.ts";
import { loadBeside, loadModel } from "../../../controller/jobs/workbench.ts";
import type { Helper } from "../../../shared/inference/helper.ts";
import { feedOf } from "./answer.ts";
import { calibrationOf, halvesOf, type Samples, type Subject, takeSamples } from "./subject.ts";

/** Samples of `pick` that passes may choose by. */
const heldOutCount = 300;

/**
 * `calibration` are the samples to observe, those that the rivals observe too by default. With `keepsTables`
 * what one recipe observed serves the next, as the rivals' cache does for theirs.
 */
export function subjectWorkbench(
  subject: Subject,
  {
    calibration = calibrationOf(subject),
    keepsTables = false,
    helpers = [],
  }: { calibration?: Samples; keepsTables?: boolean; helpers?: readonly Helper[] } = {},
): Workbench {
  const { pick } = halvesOf(subject.labelled.count);
  const indices = pick.slice(-heldOutCount);
  const heldOut = takeSamples(subject, subject.labelled, indices);
  return {
    load: loadModel,
    loadBeside: helpers.map(loadBeside),
    calibration: () => batches(subject, calibration),
    heldOut: () => batches(subject, heldOut),
    ...(keepsTables && { calibrationCache: cacheInMemory(subject.name) }),
    judge: {
      losses: (outputs) =>
        Float64Array.from(outputs, (named, at) => {
          const answer = [...named.values()][0]!.data as Float32Array;
          return subject.isRight(answer, indices[at]!) ? 0 : 1;
        }),
    },
  };
}

function cacheInMemory(identity: string): CalibrationCache {
  const tables = new Map<string, Uint8Array>();
  return {
    identity,
    read: async (key) => tables.get(key),
    write: async (key, table) => void tables.set(key, table),
  };
}

function* batches(subject: Subject, samples: Samples): Generator<Feeds> {
  for (let at = 0; at < samples.count; at++) {
    const { dtype, shape, data } = feedOf(subject, samples, at, 1);
    yield new Map([[subject.input.name, { type: dtype, shape, data } as TensorValue]]);
  }
}
