/** Operators that work element by element, and activations. */
import type { Graph } from "../graph.ts";
import type { Node } from "../node.ts";
import { tensorScalar } from "../tensor.ts";
import type { Bounds, OpFact } from "./op-fact.ts";

const computed = (opType: string): OpFact => ({ opType, quantization: { kind: "computed" } });

const toBool = (opType: string): OpFact => ({ opType, outputTypes: () => ["bool"] });

const sigmoid: OpFact = {
  opType: "Sigmoid",
  quantization: { kind: "computed", range: { min: 0, max: 1 } },
};

const softmax: OpFact = {
  opType: "Softmax",
  quantization: { kind: "computed", range: { min: 0, max: 1 } },
};

const relu: OpFact = {
  opType: "Relu",
  quantization: {
    kind: "absorbed",
    bounds: () => ({ min: 0, max: Number.POSITIVE_INFINITY }),
  },
};

/** Bounds are inputs 1 and 2 since opset 11; unknown ones make it stay. */
const clip: OpFact = {
  opType: "Clip",
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

export const elementwiseOps: readonly OpFact[] = [
  computed("Add"),
  computed("Mul"),
  computed("LeakyRelu"),
  sigmoid,
  softmax,
  relu,
  clip,
  // The CPU provider has no half kernels for these two and their ONNX form is often integer.
  { opType: "Min", keepFloat32: true },
  { opType: "Max", keepFloat32: true },
  ...["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"].map(toBool),
  ...["And", "Or", "Not", "Xor", "IsNaN", "IsInf"].map(toBool),
  { opType: "Where", outputTypes: (_node, inputType) => [inputType(1)] },
  {
    opType: "Dropout",
    outputTypes: (_node, inputType) => [inputType(0), "bool"],
    float32Inputs: [1],
  },
];
