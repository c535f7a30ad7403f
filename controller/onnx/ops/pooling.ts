/** Pooling, normalisation and other operators over windows. */
import type { OpFact } from "./op-fact.ts";

export const poolingOps: readonly OpFact[] = [
  {
    opType: "MaxPool",
    quantization: { kind: "moved" },
    outputTypes: (_node, inputType) => [inputType(0), "int64"],
  },
  { opType: "AveragePool", quantization: { kind: "computed" } },
  { opType: "GlobalAveragePool", quantization: { kind: "computed" } },
  {
    opType: "LayerNormalization",
    outputTypes: (_node, inputType) => [inputType(0), "float32", "float32"],
  },
  { opType: "RoiAlign", keepFloat32: true },
];
