/** Pooling, normalisation and other operators over windows. */
import { alongLastAxis, type OpFact, sameRank } from "./op-fact.ts";

export const poolingOps: readonly OpFact[] = [
  {
    opType: "MaxPool",
    outputRank: sameRank,
    quantization: { kind: "moved" },
    outputTypes: (_node, inputType) => [inputType(0), "int64"],
  },
  { opType: "AveragePool", outputRank: sameRank, quantization: { kind: "computed" } },
  { opType: "GlobalMaxPool", outputRank: sameRank },
  { opType: "BatchNormalization", outputRank: sameRank },
  { opType: "InstanceNormalization", outputRank: sameRank },
  { opType: "GlobalAveragePool", outputRank: sameRank, quantization: { kind: "computed" } },
  {
    opType: "LayerNormalization",
    outputRank: sameRank,
    keepsRows: alongLastAxis,
    outputTypes: (_node, inputType) => [inputType(0), "float32", "float32"],
  },
  { opType: "RoiAlign", keepFloat32: true },
];
