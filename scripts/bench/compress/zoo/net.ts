/**
 * Writes a network node by node, with seeded weights. A network has two forms with the same weight names:
 * the one that is trained, of operators whose gradients are known, and the one that goes into the file, as an
 * exporter would write it. Trained weights go from the first to the second by name.
 */
import {
  type AttributeInputs,
  type DimInput,
  makeGraph,
  makeModel,
  makeNode,
  makeValueInfo,
  type NodeInput,
} from "../../../../controller/onnx/build.ts";
import { dataTypes } from "../../../../controller/onnx/data-type.ts";
import { decodeModel, encodeModel } from "../../../../controller/onnx/proto.ts";
import type { TensorProto } from "../../../../controller/onnx/schema.ts";
import { floatTensor, intTensor, tensorFloats } from "../../../../controller/onnx/tensor.ts";
import { seededRandom } from "../../../../shared/prng.ts";

export type Form = "training" | "file";

/** HardSwish exists from 14 on, LayerNormalization from 17. */
const opset = 17;

export interface Net {
  /** Adds a node and returns the name of its first output. */
  op(
    opType: string,
    inputs: readonly string[],
    attributes?: AttributeInputs,
    outputs?: number,
  ): string;
  /** A trained weight, uniform in ±√(6 / fanIn) (He et al. 2015). */
  weight(name: string, shape: readonly number[], fanIn: number): string;
  /** A trained weight that starts at one value everywhere. */
  filled(name: string, shape: readonly number[], value: number): string;
  /** A constant of the computation; scalars and int64 are never trained. */
  scalar(value: number): string;
  /** A constant [2] of an operator that takes two values, OneHot for one. */
  pair(first: number, second: number): string;
  ints(values: readonly number[]): string;
  /** The file: `output` becomes the output `logits` of the given shape. */
  finish(output: string, shape: readonly DimInput[]): Uint8Array;
}

/** A network that reads `input` float32 of the given shape. */
export function createNet(options: {
  readonly name: string;
  readonly seed: number;
  readonly inputShape: readonly DimInput[];
  readonly inputType?: "float32" | "int64";
}): Net {
  const random = seededRandom(options.seed);
  const nodes: NodeInput[] = [];
  const weights = new Map<string, TensorProto>();
  const add = (tensor: TensorProto): string => {
    weights.set(tensor.name!, tensor);
    return tensor.name!;
  };
  const sizeOf = (shape: readonly number[]): number =>
    shape.reduce((product, size) => product * size, 1);
  return {
    op(opType, inputs, attributes = {}, outputs = 1) {
      const name = `${opType}_${nodes.length}`;
      const made = Array.from({ length: outputs }, (_, at) => (at === 0 ? name : `${name}_${at}`));
      nodes.push({ opType, name, inputs, outputs: made, attributes });
      return name;
    },
    weight(name, shape, fanIn) {
      const bound = Math.sqrt(6 / fanIn);
      const draw = () => (2 * random.nextFloat() - 1) * bound;
      return add(floatTensor(name, shape, Float32Array.from({ length: sizeOf(shape) }, draw)));
    },
    filled: (name, shape, value) =>
      add(floatTensor(name, shape, new Float32Array(sizeOf(shape)).fill(value))),
    scalar: (value) => add(floatTensor(`scalar_${value}`, [], Float32Array.of(value))),
    pair: (first, second) => add(floatTensor(`pair_${first}_${second}`, [2], [first, second])),
    ints: (values) => add(intTensor(`ints_${values.join("_")}`, [...values])),
    finish(output, shape) {
      nodes.push({ opType: "Identity", name: "logits", inputs: [output], outputs: ["logits"] });
      const graph = makeGraph({
        name: options.name,
        nodes: nodes.map(makeNode),
        inputs: [makeValueInfo("input", options.inputType ?? "float32", options.inputShape)],
        outputs: [makeValueInfo("logits", "float32", shape)],
        initializers: [...weights.values()],
      });
      return encodeModel(makeModel({ graph, opset }));
    },
  };
}

/** x · w + b with w [inputs, outputs]. */
export function dense(
  net: Net,
  x: string,
  options: { name: string; inputs: number; outputs: number },
): string {
  const { name, inputs, outputs } = options;
  const w = net.weight(`${name}.weight`, [inputs, outputs], inputs);
  return net.op("Gemm", [x, w, net.filled(`${name}.bias`, [outputs], 0)]);
}

/** The float32 weights of a file by name. */
export function weightsByName(file: Uint8Array): Map<string, Float32Array> {
  const named = decodeModel(file).graph!.initializer.filter(
    ({ dataType }) => dataType === dataTypes.float32.code,
  );
  return new Map(named.map((tensor) => [tensor.name!, tensorFloats(tensor)]));
}
