/** Operators of quantized models. */
import type { DataType } from "../data-type.ts";
import type { InputType, OpFact } from "./op-fact.ts";

const lastZeroPoint =
  (index: number) =>
  (_node: unknown, inputType: InputType): readonly (DataType | undefined)[] => [inputType(index)];

export const integerOps: readonly OpFact[] = [
  {
    opType: "QuantizeLinear",
    keepFloat32: true,
    outputTypes: (node, inputType) => [node.input(2) === "" ? "uint8" : inputType(2)],
  },
  {
    opType: "DequantizeLinear",
    keepFloat32: true,
    outputTypes: (_node, inputType) => [inputType(1)],
  },
  {
    opType: "DynamicQuantizeLinear",
    keepFloat32: true,
    outputTypes: () => ["uint8", "float32", "uint8"],
  },
  { opType: "MatMulInteger", keepFloat32: true, outputTypes: () => ["int32"] },
  { opType: "ConvInteger", keepFloat32: true, outputTypes: () => ["int32"] },
  { opType: "QLinearConv", keepFloat32: true, outputTypes: lastZeroPoint(7) },
  { opType: "QLinearMatMul", keepFloat32: true, outputTypes: lastZeroPoint(7) },
];
