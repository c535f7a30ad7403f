/** Operators that move, cut or join values, or speak of shapes. */
import { dataTypeOfCode } from "../data-type.ts";
import type { OpFact } from "./op-fact.ts";

const moved = (opType: string): OpFact => ({ opType, quantization: { kind: "moved" } });

/** Scales and the region of interest are float32 in every version (ONNX opset 13 Resize). */
const resize: OpFact = {
  opType: "Resize",
  quantization: { kind: "moved" },
  float32Inputs: [1, 2],
};

export const shapeOps: readonly OpFact[] = [
  ...["Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"].map(moved),
  ...["Slice", "Split", "Gather", "Tile", "Expand", "Identity"].map(moved),
  resize,
  { opType: "Concat", quantization: { kind: "computed" } },
  { opType: "Upsample", keepFloat32: true },
  { opType: "Shape", outputTypes: () => ["int64"] },
  { opType: "Size", outputTypes: () => ["int64"] },
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
    outputTypes: (node) => [dataTypeOfCode(node.int("to", 0))],
  },
  { opType: "CastLike", outputTypes: (_node, inputType) => [inputType(1)] },
];
