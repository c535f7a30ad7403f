/**
 * One training run: weights live in one flat buffer with a view per parameter, gradients arrive in
 * a second one of the same layout, and the optimizer moves the first by the second. The training
 * graph is executed by whoever is passed in, so this file knows no runtime, file or clock.
 *
 * Invariants: the views alias the flat buffers for the whole run, so nothing is copied per step;
 * a step that yields a loss that is not finite changes no weight and throws.
 */
import { assert } from "../../shared/assert.ts";
import { FleetError } from "../../shared/errors.ts";
import { type AdamOptions, createAdam } from "./adam.ts";
import type { TrainingGraph } from "./training-graph.ts";

/** A float32 tensor over memory that the caller owns. */
export interface FloatTensor {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** Executes one loaded model. */
export interface GraphRunner {
  /** Runs on `feeds` and writes every output named in `into` into its memory. */
  run(
    feeds: ReadonlyMap<string, FloatTensor>,
    into: ReadonlyMap<string, FloatTensor>,
  ): Promise<void>;
}

export interface TrainerOptions {
  readonly graph: TrainingGraph;
  /** Runs `graph.model`. */
  readonly runner: GraphRunner;
  readonly adam?: Omit<AdamOptions, "count" | "decayMask">;
}

export interface Trainer {
  /**
   * One optimizer step on one batch; `feeds` holds the model's inputs and the loss's.
   * Returns the batch's loss. Throws `training-diverged` when the loss is not finite.
   */
  step(feeds: ReadonlyMap<string, FloatTensor>, learningRate: number): Promise<number>;
  /** Copies of all trained weights and running statistics, by initializer name. */
  weights(): Map<string, Float32Array>;
}

/** Starts from the weights of the model that the graph was built from. */
export function createTrainer(options: TrainerOptions): Trainer {
  const { graph, runner } = options;
  const parameters = layOut(graph.parameters);
  const gradients = layOut(graph.parameters);
  const batchStates = layOut(graph.states);
  graph.parameters.forEach((parameter) => {
    parameters.views.get(parameter.name)!.data.set(parameter.initial);
  });
  const states = new Map(graph.states.map((state) => [state.name, state.initial.slice()]));
  const optimizer = createAdam({
    ...options.adam,
    count: parameters.flat.length,
    decayMask: decayMask(graph, parameters.flat.length),
  });
  const loss = new Float32Array(1);
  const into = new Map<string, FloatTensor>([[graph.loss, { data: loss, shape: [] }]]);
  for (const { name, gradient } of graph.parameters) into.set(gradient, gradients.views.get(name)!);
  for (const { name, batchValue } of graph.states)
    into.set(batchValue, batchStates.views.get(name)!);

  return {
    async step(feeds, learningRate) {
      await runner.run(new Map([...feeds, ...parameters.views]), into);
      if (!Number.isFinite(loss[0])) {
        throw new FleetError(
          "training-diverged",
          `the loss became ${loss[0]}: lower the learning rate or check the data`,
        );
      }
      optimizer.step(parameters.flat, gradients.flat, learningRate);
      for (const { name, keepFraction } of graph.states) {
        mix(states.get(name)!, batchStates.views.get(name)!.data, keepFraction);
      }
      return loss[0]!;
    },
    weights() {
      const trained = [...parameters.views].map(
        ([name, view]) => [name, view.data.slice()] as const,
      );
      const kept = [...states].map(([name, data]) => [name, data.slice()] as const);
      return new Map([...trained, ...kept]);
    },
  };
}

interface Layout {
  readonly flat: Float32Array;
  readonly views: ReadonlyMap<string, FloatTensor>;
}

/** One buffer for all, with a view per name in the given order. */
function layOut(
  values: readonly { readonly name: string; readonly shape: readonly number[] }[],
): Layout {
  const sizes = values.map(({ shape }) => shape.reduce((product, size) => product * size, 1));
  const flat = new Float32Array(sizes.reduce((sum, size) => sum + size, 0));
  let start = 0;
  const views = new Map<string, FloatTensor>();
  values.forEach(({ name, shape }, index) => {
    views.set(name, { data: flat.subarray(start, start + sizes[index]!), shape });
    start += sizes[index]!;
  });
  assert(views.size === values.length, "a name occurs twice");
  return { flat, views };
}

/** Weight decay is for matrices and filters: biases and normalisation vectors need their freedom. */
function decayMask(graph: TrainingGraph, count: number): Uint8Array {
  const mask = new Uint8Array(count);
  let start = 0;
  for (const { shape } of graph.parameters) {
    const size = shape.reduce((product, length) => product * length, 1);
    if (shape.length > 1) mask.fill(1, start, start + size);
    start += size;
  }
  return mask;
}

function mix(state: Float32Array, batch: Float32Array, keepFraction: number): void {
  for (let index = 0; index < state.length; index++) {
    state[index] = keepFraction * state[index]! + (1 - keepFraction) * batch[index]!;
  }
}
