/**
 * Compares the gradients of a small graph with central differences of its own loss
 * Σ output · seed, where the seed is random, so that every output element matters.
 */
import {
  makeGraph,
  makeModel,
  makeNode,
  makeValueInfo,
  type NodeInput,
} from "../../../controller/onnx/build.ts";
import { encodeModel } from "../../../controller/onnx/proto.ts";
import type { ModelProto } from "../../../controller/onnx/schema.ts";
import { floatTensor, intTensor } from "../../../controller/onnx/tensor.ts";
import type { Loss } from "../../../controller/train/loss.ts";
import type { FloatTensor } from "../../../controller/train/trainer.ts";
import { buildTrainingGraph } from "../../../controller/train/training-graph.ts";
import { openRunner } from "../../../scripts/models/ort-runner.ts";
import { findShapes } from "../../../scripts/models/training-session.ts";
import { seededRandom } from "../../../shared/prng.ts";

/** loss = Σ output · seed; its gradient by the output is the seed. */
const weightedSum: Loss = {
  name: "weighted-sum",
  build(write, output) {
    const product = write.emit("Mul", [output.name, "seed"]);
    const loss = write.emit("ReduceSum", [product], { keepdims: { int: 0 } });
    return { inputs: [{ name: "seed", shape: output.shape }], loss, gradient: "seed" };
  },
};

export interface GradientCase {
  readonly nodes: readonly NodeInput[];
  /** Every value that gets a gradient, by name; values are made unless given. */
  readonly values: Readonly<Record<string, readonly number[]>>;
  readonly data?: Readonly<Record<string, readonly number[]>>;
  /** Values without gradient. */
  readonly constants?: Readonly<Record<string, number>>;
  /** int64 vectors: shapes and axes. */
  readonly ints?: Readonly<Record<string, readonly number[]>>;
  /** Distance of the two evaluations; smaller where the function bends more. */
  readonly epsilon?: number;
  /** Values are drawn from this range. */
  readonly range?: readonly [number, number];
}

/** A model whose values are all initializers, so that each of them may be trained. */
function caseModel(gradientCase: GradientCase): ModelProto {
  const random = seededRandom(5);
  const [low, high] = gradientCase.range ?? [-1, 1];
  const initializers = Object.entries(gradientCase.values).map(([name, shape]) => {
    const size = shape.reduce((product, length) => product * length, 1);
    const drawn = Array.from({ length: size }, () => low + (high - low) * random.nextFloat());
    return floatTensor(name, shape, gradientCase.data?.[name] ?? drawn);
  });
  const constants = Object.entries(gradientCase.constants ?? {}).map(([name, value]) =>
    floatTensor(name, [], [value]),
  );
  const ints = Object.entries(gradientCase.ints ?? {}).map(([name, list]) => intTensor(name, list));
  const graph = makeGraph({
    nodes: gradientCase.nodes.map(makeNode),
    inputs: [],
    outputs: [makeValueInfo("y", "float32")],
    initializers: [...initializers, ...constants, ...ints],
  });
  return makeModel({ graph, opset: 13 });
}

/** ‖difference − gradient‖ / ‖difference‖ per value, over at most 40 elements of each. */
export async function gradientErrors(gradientCase: GradientCase): Promise<Record<string, number>> {
  const model = caseModel(gradientCase);
  const graph = buildTrainingGraph({
    model,
    shapes: await findShapes(model, []),
    loss: weightedSum,
    isTrainable: (name) => Object.hasOwn(gradientCase.values, name),
  });
  const runner = await openRunner(encodeModel(graph.model));
  try {
    const seed = shapeOfInput(graph.model, "seed");
    const random = seededRandom(6);
    const feeds = new Map<string, FloatTensor>([["seed", randomTensor(seed, random.nextFloat)]]);
    for (const { name, shape, initial } of graph.parameters) {
      feeds.set(name, { data: initial.slice(), shape });
    }
    const evaluate = async () => (await runner.runAll(feeds)).get(graph.loss)!.data[0]!;
    const gradients = await runner.runAll(feeds);
    const errors: Record<string, number> = {};
    for (const { name, gradient } of graph.parameters) {
      const analytic = gradients.get(gradient)!.data;
      const { data } = feeds.get(name)!;
      errors[name] = await relativeError(data, analytic, evaluate, gradientCase.epsilon ?? 1e-2);
    }
    return errors;
  } finally {
    await runner.close();
  }
}

async function relativeError(
  data: Float32Array,
  analytic: Float32Array,
  evaluate: () => Promise<number>,
  epsilon: number,
): Promise<number> {
  if (analytic.length !== data.length) return Number.POSITIVE_INFINITY;
  let difference = 0;
  let norm = 0;
  const stride = Math.max(1, Math.floor(data.length / 40));
  for (let index = 0; index < data.length; index += stride) {
    const kept = data[index]!;
    data[index] = kept + epsilon;
    const above = data[index]!;
    const high = await evaluate();
    data[index] = kept - epsilon;
    const slope = (high - (await evaluate())) / (above - data[index]!);
    data[index] = kept;
    difference += (slope - analytic[index]!) ** 2;
    norm += slope ** 2;
  }
  return Math.sqrt(difference / norm);
}

function shapeOfInput(model: ModelProto, name: string): number[] {
  const info = model.graph!.input.find((input) => input.name === name);
  return info!.type!.tensorType!.shape!.dim.map(({ dimValue }) => Number(dimValue));
}

function randomTensor(shape: readonly number[], draw: () => number): FloatTensor {
  const size = shape.reduce((product, length) => product * length, 1);
  return { data: Float32Array.from({ length: size }, () => 2 * draw() - 1), shape };
}
