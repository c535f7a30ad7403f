/** Observes activations on calibration samples, with a session in this worker process. */
import type { ModelInterface } from "../../shared/artifact/bundle.ts";
import { type GoldenSet, goldenSampleBytes } from "../../shared/evaluation/golden-set.ts";
import { prepareSample } from "../../shared/inference/processing/registry.ts";
import { openSession } from "../../shared/inference/session.ts";
import { collectRanges } from "../compress/calibration/collect.ts";
import { calibrationMethod } from "../compress/calibration/method.ts";
import type { ApplyRecipeOptions } from "../compress/compress.ts";
import type { Feeds, TensorValue } from "../compress/execute.ts";
import type { DataType } from "../onnx/data-type.ts";

type Calibrate = NonNullable<ApplyRecipeOptions["calibrate"]>;

export function calibrator(set: GoldenSet, indices: Uint32Array, spec: ModelInterface): Calibrate {
  return async ({ modelBytes, tensors, options }) => {
    const session = await openSession(modelBytes, { optimization: "basic" });
    const rankOf = (name: string) =>
      session.inputs.find((input) => input.name === name)?.shape.length;
    try {
      return await collectRanges({
        tensors,
        method: calibrationMethod(options),
        batches: () => batches(set, indices, spec, rankOf),
        async run(feeds) {
          const results = await session.run(
            Object.fromEntries(
              [...feeds].map(([name, { type, shape, data }]) => [
                name,
                { dtype: type, shape, data: data as Float32Array },
              ]),
            ),
          );
          return new Map(
            Object.entries(results).map(([name, { dtype, shape, data }]): [string, TensorValue] => [
              name,
              { type: dtype as DataType, shape, data },
            ]),
          );
        },
      });
    } finally {
      await session.release();
    }
  };
}

/** One sample per batch: memory does not grow with their number. */
function* batches(
  set: GoldenSet,
  indices: Uint32Array,
  spec: ModelInterface,
  rankOf: (name: string) => number | undefined,
): Generator<Feeds> {
  for (const index of indices) {
    yield new Map(
      spec.inputs.map((input): [string, TensorValue] => {
        const golden = set.inputs[input.tensor]!;
        const bytes = goldenSampleBytes(golden);
        const sample = prepareSample(
          input,
          golden.data.subarray(index * bytes, (index + 1) * bytes),
        );
        const shape =
          rankOf(input.tensor) === sample.shape.length ? sample.shape : [1, ...sample.shape];
        return [input.tensor, { type: sample.dtype as DataType, shape, data: sample.data }];
      }),
    );
  }
}
