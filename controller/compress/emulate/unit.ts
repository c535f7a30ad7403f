/**
 * A unit is one operator on codes, however the file writes it. What follows reads both forms into it:
 *
 * 1. QDQ: DequantizeLinear on every data input, the operator, Relu or Clip that the runtime drops, and
 *    QuantizeLinear behind. Gemm and MatMul may yield floats instead.
 * 2. QOperator: QLinearConv, QGemm and their like, with scales and zero points as inputs.
 *
 * Source: onnxruntime 1.30, qdq_selector_action_transformer.cc and qdq_selectors.cc for 1 (every data
 * input has a DequantizeLinear, the one output goes to one QuantizeLinear); ONNX and
 * docs/ContribOperators.md for the inputs of 2.
 */
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import { tensorData, tensorFloats, tensorType } from "../../onnx/tensor.ts";
import type { CodeParameters } from "./requantize.ts";

/** Codes that a unit reads. */
export interface Operand {
  /** The value that holds the codes. */
  readonly name: string;
  readonly type: string;
  /** One, or one per channel. */
  readonly scales: Float32Array;
  /** One for all channels. */
  readonly zeroPoint: number;
}

export interface Unit {
  /** The operator that it is, by ONNX's name for floats. */
  readonly operator: string;
  /** Whose attributes count. */
  readonly node: Node;
  /** Data inputs, in the operator's order. */
  readonly operands: readonly Operand[];
  /** Codes of the bias, int32; "" for none. */
  readonly bias: string;
  /** The runtime turns int8 activations into uint8 by adding 128 to codes and zero point. */
  readonly isShifted: boolean;
  readonly output: string;
  /** How the output is coded; undefined for float32. */
  readonly coded: CodeParameters | undefined;
  /** The nodes that it stands for, in topological order. */
  readonly nodes: readonly Node[];
}

/** Scales and a zero point that are constants; undefined when they are not, or differ by channel. */
export function operandOf(
  graph: Graph,
  codes: string,
  scaleName: string,
  zeroPointName: string,
  type: string | undefined,
): Operand | undefined {
  const scale = graph.constant(scaleName);
  if (scale === undefined) return undefined;
  const zeroPoints = graph.constant(zeroPointName);
  if (zeroPointName !== "" && zeroPoints === undefined) return undefined;
  const storedType = zeroPoints === undefined ? type : tensorType(zeroPoints);
  if (storedType === undefined) return undefined;
  const values = zeroPoints === undefined ? [0] : Array.from(tensorData(zeroPoints), Number);
  if (values.some((value) => value !== values[0])) return undefined;
  return {
    name: codes,
    type: storedType,
    scales: tensorFloats(scale),
    zeroPoint: values[0] ?? 0,
  };
}

/** Scale and zero point of a value that has one of each. */
export function codedBy(operand: Operand | undefined): CodeParameters | undefined {
  if (operand?.scales.length !== 1) return undefined;
  const { type, zeroPoint } = operand;
  if (type !== "uint8" && type !== "int8") return undefined;
  return { type, zeroPoint, scale: operand.scales[0]! };
}
