/** Operators that work element by element, and activations. */
import type { Graph } from "../graph.ts";
import type { Node } from "../node.ts";
import { tensorScalar } from "../tensor.ts";
import {
  alongLastAxis,
  type Bounds,
  broadcastRank,
  type OpFact,
  rowByRow,
  sameRank,
} from "./op-fact.ts";

const unary = (opType: string): OpFact => ({
  opType,
  outputRank: sameRank,
  keepsRows: rowByRow,
});

const binary = (opType: string): OpFact => ({
  opType,
  outputRank: broadcastRank,
  keepsRows: rowByRow,
});

const toBool = (opType: string): OpFact => ({ ...binary(opType), outputTypes: () => ["bool"] });

const sigmoid: OpFact = {
  ...unary("Sigmoid"),
  quantization: { kind: "computed" },
};

/** Its range is fixed as onnxruntime's quantizer fixes it, which leaves that of Sigmoid to the data. */
const softmax: OpFact = {
  ...unary("Softmax"),
  keepsRows: alongLastAxis,
  quantization: { kind: "computed", range: { min: 0, max: 1 } },
};

const relu: OpFact = {
  ...unary("Relu"),
  quantization: {
    kind: "absorbed",
    bounds: () => ({ min: 0, max: Number.POSITIVE_INFINITY }),
  },
};

/** Bounds are inputs 1 and 2 since opset 11; unknown ones make it stay. */
const clip: OpFact = {
  ...unary("Clip"),
  quantization: { kind: "absorbed", bounds: clipBounds },
};

function clipBounds(node: Node, graph: Graph): Bounds | undefined {
  const bound = (index: number, attribute: string, fallback: number): number | undefined => {
    const name = node.input(index);
    if (name === "") return node.float(attribute, fallback);
    const tensor = graph.constant(name);
    return tensor === undefined ? undefined : tensorScalar(tensor);
  };
  const min = bound(1, "min", Number.NEGATIVE_INFINITY);
  const max = bound(2, "max", Number.POSITIVE_INFINITY);
  return min === undefined || max === undefined ? undefined : { min, max };
}

/** Unary operators that no pass treats in a way of their own. */
const plainUnary = [
  "Abs",
  "Ceil",
  "Cos",
  "Elu",
  "Erf",
  "Exp",
  "Floor",
  "Gelu",
  "HardSigmoid",
].concat(
  ["HardSwish", "Log", "Mish", "Neg", "PRelu", "Reciprocal", "Round", "Selu"],
  ["Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Tanh"],
);

export const elementwiseOps: readonly OpFact[] = [
  { ...binary("Add"), quantization: { kind: "computed" } },
  { ...binary("Mul"), quantization: { kind: "computed" } },
  { ...unary("LeakyRelu"), quantization: { kind: "computed" } },
  sigmoid,
  softmax,
  relu,
  clip,
  ...plainUnary.map(unary),
  { ...unary("LogSoftmax"), keepsRows: alongLastAxis },
  ...["Sub", "Div", "Pow", "Mod", "Sum", "Mean"].map(binary),
  // Whole models keep these two in float32: their ONNX form is often integer arithmetic on shapes.
  { ...binary("Min"), keepFloat32: true },
  { ...binary("Max"), keepFloat32: true },
  ...["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"].map(toBool),
  ...["And", "Or", "Not", "Xor", "IsNaN", "IsInf"].map(toBool),
  {
    ...binary("Where"),
    outputTypes: (_node, inputType) => [inputType(1)],
    quantization: { kind: "computed", dataInputs: [1, 2] },
  },
  {
    ...unary("Dropout"),
    outputTypes: (_node, inputType) => [inputType(0), "bool"],
    float32Inputs: [1],
  },
];
