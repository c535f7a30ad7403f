/**
 * The digit classifier before training: four Conv-BN-ReLU blocks, global average pooling and one
 * dense layer, 61,050 weights. BatchNormalization nodes stay in the file as exporters of training
 * frameworks leave them, so folding them is left to compression.
 *
 * Input `image` float32 [N, 1, 28, 28] in 0 … 1, output `logits` float32 [N, 10]; N is free.
 */
import {
  makeGraph,
  makeModel,
  makeNode,
  makeValueInfo,
  type NodeInput,
} from "../../../controller/onnx/build.ts";
import { encodeModel } from "../../../controller/onnx/proto.ts";
import type { TensorProto } from "../../../controller/onnx/schema.ts";
import { makeTensor } from "../../../controller/onnx/tensor.ts";
import { type Random, seededRandom } from "../../../shared/prng.ts";
import { digitClasses, imageSide } from "../../data/mnist.ts";

/** Channels of each block and whether its outputs are halved by pooling. */
const blocks = [
  { channels: 16, pooled: true },
  { channels: 32, pooled: true },
  { channels: 64, pooled: false },
  { channels: 64, pooled: false },
] as const;
/** The oldest operator set with Q/DQ per channel, so that every device's runtime reads the file. */
const opset = 13;
const kernelSide = 3;

/** The ONNX file with random weights from `seed`. */
export function buildDigitNetwork(seed: number): Uint8Array {
  const random = seededRandom(seed);
  const nodes: NodeInput[] = [];
  const weights: TensorProto[] = [];
  let value = "image";
  let channels = 1;
  for (const [index, block] of blocks.entries()) {
    addBlock({ nodes, weights, random, name: `block${index + 1}`, input: value, channels, block });
    value = `block${index + 1}.out`;
    channels = block.channels;
  }
  weights.push(
    randomWeight(random, "head.weight", [digitClasses, channels]),
    filled("head.bias", digitClasses, 0),
  );
  nodes.push(
    { opType: "GlobalAveragePool", inputs: [value], outputs: ["pooled"] },
    {
      opType: "Flatten",
      inputs: ["pooled"],
      outputs: ["features"],
      attributes: { axis: { int: 1 } },
    },
    {
      opType: "Gemm",
      inputs: ["features", "head.weight", "head.bias"],
      outputs: ["logits"],
      attributes: { transB: { int: 1 } },
    },
  );
  const graph = makeGraph({
    name: "digits",
    nodes: nodes.map((node) => makeNode({ ...node, name: `${node.outputs[0]}/${node.opType}` })),
    inputs: [makeValueInfo("image", "float32", ["N", 1, imageSide, imageSide])],
    outputs: [makeValueInfo("logits", "float32", ["N", digitClasses])],
    initializers: weights,
  });
  return encodeModel(makeModel({ graph, opset }));
}

function addBlock(into: {
  readonly nodes: NodeInput[];
  readonly weights: TensorProto[];
  readonly random: Random;
  readonly name: string;
  readonly input: string;
  readonly channels: number;
  readonly block: (typeof blocks)[number];
}): void {
  const { nodes, weights, name, block } = into;
  const { channels } = block;
  const shape = [channels, into.channels, kernelSide, kernelSide];
  weights.push(
    randomWeight(into.random, `${name}.conv.weight`, shape),
    filled(`${name}.bn.scale`, channels, 1),
    filled(`${name}.bn.bias`, channels, 0),
    filled(`${name}.bn.running_mean`, channels, 0),
    filled(`${name}.bn.running_var`, channels, 1),
  );
  const activated = block.pooled ? `${name}.relu` : `${name}.out`;
  nodes.push(
    {
      opType: "Conv",
      inputs: [into.input, `${name}.conv.weight`],
      outputs: [`${name}.conv`],
      attributes: {
        kernel_shape: { ints: [kernelSide, kernelSide] },
        pads: { ints: [1, 1, 1, 1] },
      },
    },
    {
      opType: "BatchNormalization",
      inputs: [
        `${name}.conv`,
        ...["scale", "bias", "running_mean", "running_var"].map((part) => `${name}.bn.${part}`),
      ],
      outputs: [`${name}.bn`],
      attributes: { epsilon: { float: 1e-5 }, momentum: { float: 0.9 } },
    },
    { opType: "Relu", inputs: [`${name}.bn`], outputs: [activated] },
  );
  if (!block.pooled) return;
  const attributes = { kernel_shape: { ints: [2, 2] }, strides: { ints: [2, 2] } };
  nodes.push({ opType: "MaxPool", inputs: [activated], outputs: [`${name}.out`], attributes });
}

/** Uniform in ±√(6 / fan-in): He et al. 2015, in the form without logarithms, which is exact. */
function randomWeight(random: Random, name: string, shape: readonly number[]): TensorProto {
  const size = shape.reduce((product, length) => product * length, 1);
  const bound = Math.sqrt(6 / (size / shape[0]!));
  const data = Float32Array.from({ length: size }, () => (2 * random.nextFloat() - 1) * bound);
  return makeTensor({ name, type: "float32", shape, data });
}

function filled(name: string, length: number, value: number): TensorProto {
  const data = new Float32Array(length).fill(value);
  return makeTensor({ name, type: "float32", shape: [length], data });
}
