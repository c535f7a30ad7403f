/** Operators that move, cut or join values, or speak of shapes. */
import { dataTypeOfCode } from "../data-type.ts";
import type { Graph } from "../graph.ts";
import type { Node } from "../node.ts";
import { tensorNumbers, tensorShape } from "../tensor.ts";
import { type InputRank, type OpFact, sameRank } from "./op-fact.ts";

const moved = (opType: string, outputRank: OpFact["outputRank"]): OpFact => ({
  opType,
  outputRank,
  quantization: { kind: "moved" },
});

/** Scales and the region of interest are float32 in every version (ONNX opset 13 Resize). */
const resize: OpFact = { ...moved("Resize", sameRank), float32Inputs: [1, 2] };

/** The axes a node names, as an attribute or, in later versions, as input 1; undefined when unknown. */
export function namedAxes(node: Node, graph: Graph): readonly number[] | undefined {
  const attribute = node.ints("axes", undefined);
  if (attribute !== undefined) return attribute;
  const tensor = graph.constant(node.input(1));
  return tensor === undefined ? undefined : tensorNumbers(tensor);
}

function axesCount(node: Node, graph: Graph): number | undefined {
  return namedAxes(node, graph)?.length;
}

const rankChangedBy =
  (sign: 1 | -1): OpFact["outputRank"] =>
  (node, graph, inputRank) => {
    const rank = inputRank(0);
    const count = axesCount(node, graph);
    return rank === undefined || count === undefined ? undefined : rank + sign * count;
  };

/** A constant target shape says how many dims there will be. */
function reshapeRank(node: Node, graph: Graph): number | undefined {
  const shape = graph.constant(node.input(1));
  return shape === undefined ? undefined : tensorShape(shape)[0];
}

function transposeRank(node: Node, _graph: Graph, inputRank: InputRank): number | undefined {
  return inputRank(0) ?? node.ints("perm", undefined)?.length;
}

/** Each index picks along one axis, which the dims of the indices replace. */
function gatherRank(_node: Node, _graph: Graph, inputRank: InputRank): number | undefined {
  const data = inputRank(0);
  const indices = inputRank(1);
  return data === undefined || indices === undefined ? undefined : data - 1 + indices;
}

/** Reductions keep their axes as 1 unless told otherwise; without axes all are reduced. */
function reduceRank(node: Node, graph: Graph, inputRank: InputRank): number | undefined {
  const rank = inputRank(0);
  if (rank === undefined || node.int("keepdims", 1) === 1) return rank;
  if (!node.has("axes") && node.input(1) === "") return 0;
  const count = axesCount(node, graph);
  return count === undefined ? undefined : rank - count;
}

const reductions = ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"].concat([
  "ReduceL1",
  "ReduceL2",
  "ReduceSumSquare",
  "ReduceLogSum",
  "ReduceLogSumExp",
]);

export const shapeOps: readonly OpFact[] = [
  moved("Reshape", reshapeRank),
  moved("Flatten", () => 2),
  moved("Transpose", transposeRank),
  moved("Squeeze", rankChangedBy(-1)),
  moved("Unsqueeze", rankChangedBy(1)),
  moved("Gather", gatherRank),
  ...["Slice", "Split", "Tile", "Identity", "DepthToSpace"].map((opType) =>
    moved(opType, sameRank),
  ),
  moved("Expand", undefined),
  resize,
  ...reductions.map((opType): OpFact => ({ opType, outputRank: reduceRank })),
  { opType: "Pad", outputRank: sameRank },
  { opType: "Concat", outputRank: sameRank, quantization: { kind: "computed" } },
  { opType: "Upsample", keepFloat32: true },
  { opType: "Shape", acceptsAnyType: true, outputRank: () => 1, outputTypes: () => ["int64"] },
  { opType: "Size", acceptsAnyType: true, outputTypes: () => ["int64"] },
  { opType: "NonZero", outputTypes: () => ["int64"] },
  { opType: "ArgMax", outputTypes: () => ["int64"] },
  { opType: "ArgMin", outputTypes: () => ["int64"] },
  {
    opType: "TopK",
    keepFloat32: true,
    outputTypes: (_node, inputType) => [inputType(0), "int64"],
  },
  {
    opType: "Unique",
    keepFloat32: true,
    outputTypes: (_node, inputType) => [inputType(0), "int64", "int64", "int64"],
  },
  { opType: "NonMaxSuppression", keepFloat32: true, outputTypes: () => ["int64"] },
  { opType: "Range", keepFloat32: true },
  { opType: "CumSum", keepFloat32: true },
  { opType: "OneHot", outputTypes: (_node, inputType) => [inputType(2)] },
  {
    opType: "Cast",
    acceptsAnyType: true,
    outputRank: sameRank,
    outputTypes: (node) => [dataTypeOfCode(node.int("to", 0))],
  },
  { opType: "CastLike", outputTypes: (_node, inputType) => [inputType(1)] },
];
