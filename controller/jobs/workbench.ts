/**
 * Runs models on the samples of a golden set, with sessions in this worker process and in the processes
 * that help it.
 */
import type { ModelInterface } from "../../shared/artifact/bundle.ts";
import { type GoldenSet, goldenSample } from "../../shared/evaluation/golden-set.ts";
import type { GoldenSplit } from "../../shared/evaluation/golden-split.ts";
import { metricOf } from "../../shared/evaluation/metrics/registry.ts";
import type { Helper } from "../../shared/inference/helper.ts";
import {
  answerOf,
  flattenTensors,
  type OutputTensor,
} from "../../shared/inference/processing/answer.ts";
import {
  type Assets,
  type PrepareSample,
  samplePreparer,
} from "../../shared/inference/processing/registry.ts";
import { type Feed, openSession } from "../../shared/inference/session.ts";
import type { CalibrationCache } from "../compress/calibration/cache.ts";
import { fitted } from "../compress/calibration/fit.ts";
import type {
  Feeds,
  Judge,
  LoadBeside,
  LoadedHere,
  Outputs,
  TensorValue,
  Workbench,
} from "../compress/execute.ts";
import type { DataType } from "../onnx/data-type.ts";
import { type Answers, judgeAt } from "./score.ts";

/** What may be tuned on: never the sealed samples, nor those of shards. */
export type TuningSamples = Pick<GoldenSplit, "calibration" | "selection">;

/** Errors: those of `samplePreparer`. */
export function workbenchOf(
  set: GoldenSet,
  split: TuningSamples,
  spec: ModelInterface,
  {
    assets = {},
    cache,
    helpers = [],
  }: {
    assets?: Assets;
    cache?: CalibrationCache | undefined;
    helpers?: readonly Helper[];
  } = {},
): Workbench {
  const prepare = samplePreparer(spec, assets);
  const judge = judgeOf(set, split.selection, spec);
  return {
    load: loadModel,
    loadBeside: helpers.map(loadBeside),
    calibration: () => batches(set, split.calibration, spec, prepare),
    heldOut: () => batches(set, split.selection, spec, prepare),
    ...(judge === undefined ? {} : { judge }),
    ...(cache === undefined ? {} : { calibrationCache: cache }),
  };
}

/** A file in a session of this process. */
export async function loadModel(
  modelBytes: Uint8Array,
  optimization: "disabled" | "basic" | "all" = "basic",
): Promise<LoadedHere> {
  const session = await openSession(modelBytes, { optimization });
  const ranks = new Map(session.inputs.map(({ name, shape }) => [name, shape.length]));
  return {
    run: async (feeds) => outputsOf(await session.run(feedsFor(feeds, ranks))),
    close: () => session.release(),
    outputShapes: session.outputShapes,
  };
}

/** The same in a process that helps. */
export function loadBeside(helper: Helper): LoadBeside {
  return async (modelBytes) => {
    const model = await helper.open(modelBytes);
    const ranks = new Map(Object.entries(model.ranks));
    return {
      run: async (feeds) => outputsOf(await model.run(feedsFor(feeds, ranks))),
      close: () => model.close(),
    };
  };
}

function feedsFor(feeds: Feeds, ranks: ReadonlyMap<string, number>): Record<string, Feed> {
  return Object.fromEntries(
    [...feeds].map(([name, { type, shape, data }]) => [
      name,
      { dtype: type, shape: fitted(shape, ranks.get(name)), data: data as Float32Array },
    ]),
  );
}

function outputsOf(results: Readonly<Record<string, OutputTensor>>): Outputs {
  return new Map(
    Object.entries(results).map(([name, { dtype, shape, data }]): [string, TensorValue] => [
      name,
      { type: dtype as DataType, shape, data },
    ]),
  );
}

/** One sample per batch: memory does not grow with their number. */
export function* batches(
  set: GoldenSet,
  indices: Uint32Array,
  spec: ModelInterface,
  prepare: PrepareSample,
): Generator<Feeds> {
  for (const index of indices) {
    yield new Map(
      spec.inputs.map((input): [string, TensorValue] => {
        const raw = goldenSample(set.inputs[input.tensor]!, index);
        const { dtype, shape, data } = prepare(input, raw);
        return [input.tensor, { type: dtype as DataType, shape: [1, ...shape], data }];
      }),
    );
  }
}

function judgeOf(set: GoldenSet, indices: Uint32Array, spec: ModelInterface): Judge | undefined {
  const metric = metricOf(set.metric);
  if (metric === undefined) return undefined;
  const { regionSlice } = set;
  return {
    losses: (outputs) =>
      judgeAt(metric, set, answersOf(set, indices, spec, outputs), indices).losses,
    ...(regionSlice && {
      slices: Array.from(indices, (at) => regionSlice.names[regionSlice.index[at]!]!),
    }),
  };
}

/** Answers at the places of their samples in the pool. */
export function answersOf(
  set: GoldenSet,
  indices: Uint32Array,
  spec: ModelInterface,
  outputs: readonly Outputs[],
): Answers {
  const top1 = new Int32Array(set.count).fill(-1);
  const tensors: Float32Array[] = [];
  for (const [at, index] of indices.entries()) {
    const named = [...outputs[at]!].map(([name, { type, shape, data }]) => [
      name,
      { dtype: type, shape, data: data as Float32Array },
    ]);
    const answer = answerOf(spec.output, Object.fromEntries(named));
    if (answer.kind === "classification") top1[index] = answer.index;
    else tensors[index] = flattenTensors(answer.tensors);
  }
  return { top1, outputs: tensors };
}
