/**
 * A training run of an ONNX file with onnxruntime-node: finds the shapes, builds the training graph,
 * loads it and hands out a trainer.
 */

import { decodeModel, encodeModel } from "../../controller/onnx/proto.ts";
import type { ModelProto } from "../../controller/onnx/schema.ts";
import type { AdamOptions } from "../../controller/train/adam.ts";
import type { Loss, ShapedValue } from "../../controller/train/loss.ts";
import { crossEntropy } from "../../controller/train/losses/cross-entropy.ts";
import { createTrainer, type FloatTensor, type Trainer } from "../../controller/train/trainer.ts";
import {
  buildTrainingGraph,
  shapeProbe,
  withWeights,
} from "../../controller/train/training-graph.ts";
import { openRunner } from "./ort-runner.ts";

export interface TrainingSession {
  readonly trainer: Trainer;
  /** The given model with the weights as they are now. */
  trainedModel(): Uint8Array;
  close(): Promise<void>;
}

export interface TrainingSessionOptions {
  readonly modelBytes: Uint8Array;
  /** The model's inputs with the shapes of one training batch. */
  readonly inputs: readonly ShapedValue[];
  readonly adam?: Omit<AdamOptions, "count" | "decayMask">;
  readonly loss?: Loss;
}

/** Throws what `decodeModel` and `buildTrainingGraph` throw. */
export async function openTraining(options: TrainingSessionOptions): Promise<TrainingSession> {
  const model = decodeModel(options.modelBytes);
  const shapes = await findShapes(model, options.inputs);
  const graph = buildTrainingGraph({ model, shapes, loss: options.loss ?? crossEntropy });
  const runner = await openRunner(encodeModel(graph.model));
  const trainer = createTrainer({ graph, runner, adam: options.adam ?? {} });
  return {
    trainer,
    trainedModel: () => encodeModel(withWeights(model, trainer.weights())),
    close: () => runner.close(),
  };
}

/** The shape of every value of `model` when its inputs have the given shapes. */
export async function findShapes(
  model: ModelProto,
  inputs: readonly ShapedValue[],
): Promise<Map<string, readonly number[]>> {
  const runner = await openRunner(encodeModel(shapeProbe(model)));
  try {
    const feeds = inputs.map(({ name, shape }): [string, FloatTensor] => {
      const size = shape.reduce((product, length) => product * length, 1);
      return [name, { data: new Float32Array(size), shape }];
    });
    const found = await runner.shapes(new Map(feeds));
    for (const { name, shape } of inputs) found.set(name, shape);
    return found;
  } finally {
    await runner.close();
  }
}
