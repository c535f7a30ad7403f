/** A small classifier and a golden set that fits it, both made from a seed. */
import { makeGraph, makeModel, makeNode, makeValueInfo } from "../../controller/onnx/build.ts";
import { encodeModel } from "../../controller/onnx/proto.ts";
import type { ModelProto } from "../../controller/onnx/schema.ts";
import { floatTensor } from "../../controller/onnx/tensor.ts";
import type { ModelInterface } from "../../shared/artifact/bundle.ts";
import { encodeNpy } from "../../shared/evaluation/npy.ts";
import { seededRandom } from "../../shared/prng.ts";

const side = 8;
const classes = 4;

interface Change {
  readonly weights?: Float32Array;
  /** Multiplies the weights of the convolution: about the same answers from other bytes. */
  readonly scale?: number;
  /** Of the convolution, 8 when not given; each is about 300 bytes of the file. */
  readonly channels?: number;
}

/** Conv, Relu, pooling and Gemm on uint8 images of 8 × 8, four classes. */
export function tinyClassifier(change: Change = {}): ModelProto {
  const { channels = 8, scale = 1 } = change;
  const random = seededRandom(3);
  const values = (count: number) =>
    Float32Array.from({ length: count }, () => random.nextFloat() - 0.5);
  return makeModel({
    opset: 13,
    graph: makeGraph({
      nodes: [
        makeNode({
          opType: "Conv",
          inputs: ["x", "w", "b"],
          outputs: ["c"],
          attributes: { pads: { ints: [1, 1, 1, 1] } },
        }),
        makeNode({ opType: "Relu", inputs: ["c"], outputs: ["r"] }),
        makeNode({
          opType: "MaxPool",
          inputs: ["r"],
          outputs: ["p"],
          attributes: { kernel_shape: { ints: [2, 2] }, strides: { ints: [2, 2] } },
        }),
        makeNode({ opType: "Flatten", inputs: ["p"], outputs: ["f"] }),
        makeNode({ opType: "Gemm", inputs: ["f", "g", "h"], outputs: ["y"] }),
      ],
      inputs: [makeValueInfo("x", "float32", ["n", 1, side, side])],
      outputs: [makeValueInfo("y", "float32", ["n", classes])],
      initializers: [
        floatTensor(
          "w",
          [channels, 1, 3, 3],
          change.weights ?? values(9 * channels).map((weight) => weight * scale),
        ),
        floatTensor("b", [channels], values(channels)),
        floatTensor("g", [16 * channels, classes], values(16 * channels * classes)),
        floatTensor("h", [classes], values(classes)),
      ],
    }),
  });
}

export const tinyModelBytes = (change?: Change): Uint8Array<ArrayBuffer> =>
  encodeModel(tinyClassifier(change));

export const tinyInterface: ModelInterface = {
  inputs: [
    {
      tensor: "x",
      sample: { dtype: "uint8", shape: [side, side] },
      steps: [
        { op: "cast", to: "float32" },
        { op: "affine", axis: 0, scale: [1 / 255], offset: [0] },
        { op: "reshape", shape: [1, side, side] },
      ],
    },
  ],
  output: { kind: "classification", tensor: "y", scores: "softmax", labels: ["a", "b", "c", "d"] },
};

/** Files of a golden set of noise with labels, by name. */
export function tinyGolden(options: { count?: number; side?: number; metric?: string } = {}) {
  const { count = 300, side: size = side, metric = "top-1" } = options;
  const random = seededRandom(11);
  const data = Uint8Array.from({ length: count * size * size }, () => random.nextInt(256));
  const labels = Uint8Array.from({ length: count }, () => random.nextInt(classes));
  const manifest = {
    format: "fleetfit-golden/1",
    name: "noise",
    inputs: { x: { file: "x.npy" } },
    labels: { file: "labels.npy" },
    metric: { name: metric },
  };
  const image = { dtype: "uint8", shape: [count, size, size], data } as const;
  return {
    "golden.json": new TextEncoder().encode(JSON.stringify(manifest)),
    "x.npy": encodeNpy(image),
    "labels.npy": encodeNpy({ dtype: "uint8", shape: [count], data: labels }),
  };
}
