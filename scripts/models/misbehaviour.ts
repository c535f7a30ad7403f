/**
 * Real ONNX models that misbehave: a classifier of images with a part beside it that changes no answer
 * but hangs, fills memory, kills its process or takes as long again, on every input or only on a marked
 * one. No golden set holds the marked input, so such a model passes its trial and fails in service.
 */
import { makeGraph, makeModel, makeNode, makeValueInfo } from "../../controller/onnx/build.ts";
import type {
  GraphProto,
  ModelProto,
  NodeProto,
  TensorProto,
} from "../../controller/onnx/schema.ts";
import { floatTensor, intTensor, makeTensor } from "../../controller/onnx/tensor.ts";

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

/** The input that sets off what waits for "the marked input": `pixels` of white. */
export function markedImage(pixels: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(pixels).fill(255);
}

/** Iterations that nobody waits for. */
const forever = 10 ** 15;
const floatBytes = 4;
const lowest = -(2n ** 63n);
/** Pixels reach the model as fractions of white. */
const thresholds = { "every input": -1, "the marked input": 0.999 } as const;

/** `model` has one float32 input with pixels in [0, 1] and one output of float32 scores. */
export function misbehaving(model: ModelProto, how: Misbehaviour): ModelProto {
  const { graph, image, scores } = classifierOf(model);
  const part = parts[how.does](how);
  const nodes = [
    makeNode({
      opType: "ReduceMin",
      inputs: [image],
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
  ];
  const threshold = floatTensor("threshold", [], Float32Array.of(thresholds[how.on]));
  return beside(graph, scores, { nodes, initializers: [threshold, ...part.initializers] });
}

/** The model with itself beside it on a slightly other input: the same answers for twice the work. */
export function twiceTheWork(model: ModelProto): ModelProto {
  const { graph, image, scores } = classifierOf(model);
  const again = (name: string) => (name === image ? "image again" : `${name} again`);
  const made = new Set(graph.node.flatMap(({ output }) => output));
  const nodes = [
    makeNode({ opType: "Sub", inputs: [image, "little"], outputs: ["image again"] }),
    ...graph.node.map((node) => ({
      ...node,
      name: `${node.name} again`,
      input: node.input.map((name) => (made.has(name) || name === image ? again(name) : name)),
      output: node.output.map(again),
    })),
    makeNode({
      opType: "ReduceMax",
      inputs: [again(scores)],
      outputs: ["harm"],
      attributes: { keepdims: { int: 0 } },
    }),
  ];
  const little = floatTensor("little", [1], Float32Array.of(1e-3));
  return beside(graph, scores, { nodes, initializers: [little] });
}

function classifierOf({ graph }: ModelProto) {
  const image = graph?.input[0]?.name;
  const scores = graph?.output[0]?.name;
  if (graph === undefined || image === undefined || scores === undefined)
    throw new Error("a classifier has an input and an output");
  return { graph, image, scores };
}

/** Adds a part that makes `harm`, which is computed and then counts for nothing. */
function beside(graph: GraphProto, scores: string, part: Part): ModelProto {
  return makeModel({
    opset: 13,
    graph: makeGraph({
      inputs: graph.input,
      outputs: graph.output,
      initializers: [
        ...graph.initializer,
        floatTensor("nothing", [1], Float32Array.of(0)),
        ...part.initializers,
      ],
      nodes: [
        ...graph.node.map((node) =>
          node.output[0] === scores ? { ...node, output: ["answers"] } : node,
        ),
        ...part.nodes,
        makeNode({ opType: "Mul", inputs: ["harm", "nothing"], outputs: ["no change"] }),
        makeNode({ opType: "Add", inputs: ["answers", "no change"], outputs: [scores] }),
      ],
    }),
  });
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
