/**
 * Says what a runtime really made of a quantized model. onnxruntime writes the graph it runs when asked
 * (`optimizedModelFilePath`); this counts in it which heavy operators work on integers and which fell
 * back to float, since a quantizer's intent is no proof.
 */
import { decodeModel } from "../onnx/proto.ts";
import type { GraphProto } from "../onnx/schema.ts";
import { subgraphsOf } from "../onnx/subgraph.ts";

/** Kernels of onnxruntime 1.30 that multiply integers. */
export const integerKernels: ReadonlySet<string> = new Set([
  "ConvInteger",
  "DynamicQuantizeLSTM",
  "DynamicQuantizeMatMul",
  "MatMulInteger",
  "MatMulIntegerToFloat",
  "MatMulNBits",
  "QAttention",
  "QGemm",
  "QLinearConv",
  "QLinearMatMul",
]);

/** Kernels that multiply floats. */
const floatKernels: ReadonlySet<string> = new Set([
  "Attention",
  "Conv",
  "ConvTranspose",
  "FusedConv",
  "FusedGemm",
  "FusedMatMul",
  "GRU",
  "Gemm",
  "LSTM",
  "MatMul",
  "RNN",
]);

/** True for the operators that the audit names one by one. */
export function isMultiplying(opType: string): boolean {
  return integerKernels.has(opType) || floatKernels.has(opType);
}

const conversions: ReadonlySet<string> = new Set([
  "DequantizeLinear",
  "DynamicQuantizeLinear",
  "QuantizeLinear",
]);

export interface FusionAudit {
  /** Nodes that multiply integers, and floats. */
  readonly integerNodes: number;
  readonly floatNodes: number;
  /** Nodes that turn floats into codes or back. */
  readonly conversionNodes: number;
  /** Number of nodes per operator, all operators. */
  readonly operators: Readonly<Record<string, number>>;
  /** Heavy nodes that stayed float, by name or first output. */
  readonly floatNames: readonly string[];
}

/** Counts in the file that the runtime wrote. Throws what `decodeModel` throws. */
export function auditFusion(optimizedModelBytes: Uint8Array): FusionAudit {
  const operators: Record<string, number> = {};
  const floatNames: string[] = [];
  let integerNodes = 0;
  let conversionNodes = 0;
  const count = (graph: GraphProto): void => {
    for (const node of graph.node) {
      const opType = node.opType ?? "";
      operators[opType] = (operators[opType] ?? 0) + 1;
      if (integerKernels.has(opType)) integerNodes++;
      if (conversions.has(opType)) conversionNodes++;
      if (floatKernels.has(opType)) floatNames.push(node.name || (node.output[0] ?? ""));
      for (const inner of subgraphsOf(node)) count(inner);
    }
  };
  count(decodeModel(optimizedModelBytes).graph!);
  return { integerNodes, floatNodes: floatNames.length, conversionNodes, operators, floatNames };
}
