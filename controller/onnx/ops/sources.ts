/** Operators that make values from attributes, and control flow, whose types lie in their subgraphs. */
import { type DataType, dataTypeOfCode } from "../data-type.ts";
import type { Node } from "../node.ts";
import type { OpFact } from "./op-fact.ts";

const drawn = (opType: string): OpFact => ({
  opType,
  keepFloat32: true,
  outputTypes: (node) => [dataTypeOfCode(node.int("dtype", 1))],
});

const opaque = (opType: string): OpFact => ({
  opType,
  keepFloat32: true,
  outputTypes: (node) => node.outputs.map(() => undefined),
});

/** Control flow yields what the graph in `attribute` yields, but its first `skipped` outputs. */
const controlFlow = (opType: string, attribute: string, skipped: number): OpFact => ({
  opType,
  keepFloat32: true,
  outputTypes: (node) =>
    (node.attribute(attribute)?.g?.output ?? [])
      .slice(skipped)
      .map(({ type }) => dataTypeOfCode(type?.tensorType?.elemType ?? 0)),
});

/** Type of a Constant's value, whichever of its attributes holds it. */
function constantType(node: Node): DataType | undefined {
  if (node.has("value_float") || node.has("value_floats")) return "float32";
  if (node.has("value_int") || node.has("value_ints")) return "int64";
  return dataTypeOfCode(node.tensor("value")?.dataType ?? 0);
}

export const sourceOps: readonly OpFact[] = [
  { opType: "Constant", keepFloat32: true, outputTypes: (node) => [constantType(node)] },
  {
    opType: "ConstantOfShape",
    keepFloat32: true,
    outputTypes: (node) => [dataTypeOfCode(node.tensor("value")?.dataType ?? 1)],
  },
  ...["RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike"].map(drawn),
  {
    opType: "EyeLike",
    keepFloat32: true,
    outputTypes: (node, inputType) => [
      node.has("dtype") ? dataTypeOfCode(node.int("dtype", 1)) : inputType(0),
    ],
  },
  {
    opType: "Multinomial",
    keepFloat32: true,
    outputTypes: (node) => [dataTypeOfCode(node.int("dtype", 6))],
  },
  controlFlow("If", "then_branch", 0),
  controlFlow("Loop", "body", 1),
  controlFlow("Scan", "body", 0),
  ...["SequenceAt", "SequenceConstruct", "SplitToSequence"].map(opaque),
  ...["ConcatFromSequence", "SequenceInsert", "Optional", "OptionalGetElement"].map(opaque),
];
