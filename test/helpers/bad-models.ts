/**
 * Real ONNX models that misbehave: the tiny classifier with a part beside it that changes no answer
 * but hangs, fills memory or kills its process, on every input or only on a marked one. A golden set
 * of noise never holds the marked input, so such a model passes its trial and fails in service.
 */
import { makeGraph, makeModel, makeNode, makeValueInfo } from "../../controller/onnx/build.ts";
import { encodeModel } from "../../controller/onnx/proto.ts";
import type { NodeProto, TensorProto } from "../../controller/onnx/schema.ts";
import { floatTensor, intTensor, makeTensor } from "../../controller/onnx/tensor.ts";
import { tinyClassifier } from "./tiny-classifier.ts";

export interface Misbehaviour {
  /**
   * `crash` divides the lowest int64 by −1, which x86 answers with SIGFPE and onnxruntime 1.30 does not
   * look for; other processors come to a number.
   */
  readonly does: "hang" | "fill-memory" | "crash";
  readonly on: "every input" | "the marked input";
  /** Width of the intermediate of `fill-memory`; 600 MB by default. */
  readonly bytes?: number;
}

/** The input that sets off what waits for "the marked input": a white image. */
export const markedImage: Uint8Array<ArrayBuffer> = new Uint8Array(64).fill(255);

/** Iterations that nobody waits for. */
const forever = 10 ** 15;
const floatBytes = 4;
const lowest = -(2n ** 63n);
/** Pixels reach the model as fractions of white. */
const thresholds = { "every input": -1, "the marked input": 0.999 } as const;

export function badModelBytes(how: Misbehaviour): Uint8Array<ArrayBuffer> {
  const { graph } = tinyClassifier();
  if (graph === undefined) throw new Error("the tiny classifier has a graph");
  const part = parts[how.does](how);
  return encodeModel(
    makeModel({
      opset: 13,
      graph: makeGraph({
        inputs: graph.input,
        outputs: graph.output,
        initializers: [
          ...graph.initializer,
          floatTensor("threshold", [], Float32Array.of(thresholds[how.on])),
          floatTensor("nothing", [1], Float32Array.of(0)),
          ...part.initializers,
        ],
        nodes: [
          ...graph.node.map((node) =>
            node.output[0] === "y" ? { ...node, output: ["answers"] } : node,
          ),
          makeNode({
            opType: "ReduceMin",
            inputs: ["x"],
            outputs: ["darkest"],
            attributes: { keepdims: { int: 0 } },
          }),
          makeNode({ opType: "Greater", inputs: ["darkest", "threshold"], outputs: ["set off"] }),
          makeNode({
            opType: "Cast",
            inputs: ["set off"],
            outputs: ["one or none"],
            attributes: { to: { int: 7 } },
          }),
          ...part.nodes,
          makeNode({ opType: "Mul", inputs: ["harm", "nothing"], outputs: ["no change"] }),
          makeNode({ opType: "Add", inputs: ["answers", "no change"], outputs: ["y"] }),
        ],
      }),
    }),
  );
}

interface Part {
  readonly nodes: readonly NodeProto[];
  readonly initializers: readonly TensorProto[];
}

/** Each makes `harm`, float32 [1], from `darkest` (float32) and `one or none` (int64). */
const parts: Readonly<Record<Misbehaviour["does"], (how: Misbehaviour) => Part>> = {
  hang: () => ({
    initializers: [intTensor("forever", [forever], [])],
    nodes: [
      makeNode({ opType: "Mul", inputs: ["one or none", "forever"], outputs: ["rounds"] }),
      makeNode({
        opType: "Loop",
        inputs: ["rounds", "", "nothing"],
        outputs: ["harm"],
        attributes: { body: { graph: countingBody() } },
      }),
    ],
  }),
  "fill-memory": ({ bytes = 600_000_000 }) => ({
    initializers: [intTensor("width", [Math.floor(bytes / floatBytes)]), intTensor("one", [1])],
    nodes: [
      makeNode({ opType: "Mul", inputs: ["one or none", "width"], outputs: ["more"] }),
      makeNode({ opType: "Add", inputs: ["more", "one"], outputs: ["size"] }),
      makeNode({ opType: "Expand", inputs: ["darkest", "size"], outputs: ["wide"] }),
      makeNode({ opType: "Sqrt", inputs: ["wide"], outputs: ["wide roots"] }),
      makeNode({
        opType: "ReduceMax",
        inputs: ["wide roots"],
        outputs: ["harm"],
        attributes: { keepdims: { int: 1 } },
      }),
    ],
  }),
  crash: () => ({
    initializers: [
      intTensor("one", [1]),
      intTensor("two", [2]),
      makeTensor({ name: "lowest", type: "int64", shape: [1], data: BigInt64Array.of(lowest) }),
    ],
    nodes: [
      makeNode({ opType: "Mul", inputs: ["one or none", "two"], outputs: ["two or none"] }),
      makeNode({ opType: "Sub", inputs: ["one", "two or none"], outputs: ["divisor"] }),
      makeNode({ opType: "Div", inputs: ["lowest", "divisor"], outputs: ["quotient"] }),
      makeNode({
        opType: "Cast",
        inputs: ["quotient"],
        outputs: ["harm"],
        attributes: { to: { int: 1 } },
      }),
    ],
  }),
};

function countingBody() {
  return makeGraph({
    name: "body",
    inputs: [
      makeValueInfo("i", "int64", []),
      makeValueInfo("go", "bool", []),
      makeValueInfo("value", "float32", [1]),
    ],
    outputs: [makeValueInfo("goOn", "bool", []), makeValueInfo("next", "float32", [1])],
    nodes: [
      makeNode({ opType: "Identity", inputs: ["go"], outputs: ["goOn"] }),
      makeNode({ opType: "Sqrt", inputs: ["value"], outputs: ["next"] }),
    ],
  });
}
