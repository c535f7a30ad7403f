/**
 * Tiny models for tests of the whole system: made from a seed in a millisecond, so none of them is
 * committed. Their answers mean nothing; that they differ from seed to seed is what tests need.
 */
import {
  makeGraph,
  makeModel,
  makeNode,
  makeValueInfo,
  type NodeInput,
} from "../../controller/onnx/build.ts";
import { encodeModel } from "../../controller/onnx/proto.ts";
import { floatTensor } from "../../controller/onnx/tensor.ts";
import { seededRandom } from "../../shared/prng.ts";

const opset = 13;

export interface FixtureModel {
  readonly bytes: Uint8Array;
  readonly input: string;
  /** Without the batch axis, which is free. */
  readonly inputShape: readonly number[];
  readonly output: string;
  readonly classes: number;
}

/** Conv, GlobalAveragePool, Flatten: `image` float32 [N, 1, 8, 8] → `logits` float32 [N, 4]. */
export function tinyConvNet(seed: number): FixtureModel {
  const classes = 4;
  return fixture({
    seed,
    input: "image",
    inputShape: [1, 8, 8],
    classes,
    weights: { filters: [classes, 1, 3, 3], bias: [classes] },
    nodes: [
      {
        opType: "Conv",
        inputs: ["image", "filters", "bias"],
        outputs: ["maps"],
        attributes: { kernel_shape: { ints: [3, 3] }, pads: { ints: [1, 1, 1, 1] } },
      },
      { opType: "GlobalAveragePool", inputs: ["maps"], outputs: ["means"] },
      { opType: "Flatten", inputs: ["means"], outputs: ["logits"] },
    ],
  });
}

/** Two MatMul layers with Relu between: `features` float32 [N, 16] → `logits` float32 [N, 4]. */
export function tinyMatMulNet(seed: number): FixtureModel {
  const features = 16;
  const hidden = 32;
  const classes = 4;
  return fixture({
    seed,
    input: "features",
    inputShape: [features],
    classes,
    weights: { w1: [features, hidden], b1: [hidden], w2: [hidden, classes], b2: [classes] },
    nodes: [
      { opType: "MatMul", inputs: ["features", "w1"], outputs: ["m1"] },
      { opType: "Add", inputs: ["m1", "b1"], outputs: ["h1"] },
      { opType: "Relu", inputs: ["h1"], outputs: ["r1"] },
      { opType: "MatMul", inputs: ["r1", "w2"], outputs: ["m2"] },
      { opType: "Add", inputs: ["m2", "b2"], outputs: ["logits"] },
    ],
  });
}

function fixture(parts: {
  readonly seed: number;
  readonly input: string;
  readonly inputShape: readonly number[];
  readonly classes: number;
  readonly weights: Readonly<Record<string, readonly number[]>>;
  readonly nodes: readonly NodeInput[];
}): FixtureModel {
  const { input, inputShape, classes } = parts;
  const random = seededRandom(parts.seed);
  const initializers = Object.entries(parts.weights).map(([name, shape]) => {
    const size = shape.reduce((product, length) => product * length, 1);
    return floatTensor(
      name,
      shape,
      Array.from({ length: size }, () => 2 * random.nextFloat() - 1),
    );
  });
  const graph = makeGraph({
    nodes: parts.nodes.map(makeNode),
    inputs: [makeValueInfo(input, "float32", ["N", ...inputShape])],
    outputs: [makeValueInfo("logits", "float32", ["N", classes])],
    initializers,
  });
  const bytes = encodeModel(makeModel({ graph, opset }));
  return { bytes, input, inputShape, output: "logits", classes };
}
