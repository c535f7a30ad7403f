/**
 * Reads operators on codes, whose scales and zero points are inputs, into units: where each operator
 * keeps what. Source: ONNX operator documentation; onnxruntime docs/ContribOperators.md.
 */
import type { DataType } from "../../onnx/data-type.ts";
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import { codedBy, type Operand, operandOf, type Unit } from "./unit.ts";

/** Positions of inputs: codes, scale and zero point of each operand. */
interface Form {
  readonly operator: string;
  readonly operands: readonly (readonly [codes: number, scale: number, zeroPoint: number])[];
  readonly bias?: number;
  /** Absent for one that always yields float32. */
  readonly output?: readonly [scale: number, zeroPoint: number];
  /** An input that makes it another operator than is known here. */
  readonly unknown?: number;
}

const pairForm = (operator: string): Form => ({
  operator,
  operands: [
    [0, 1, 2],
    [3, 4, 5],
  ],
  output: [6, 7],
});

const unaryForm = (operator: string): Form => ({
  operator,
  operands: [[0, 1, 2]],
  output: [3, 4],
});

const forms: Readonly<Record<string, Form>> = {
  QLinearConv: { ...pairForm("Conv"), bias: 8 },
  QLinearMatMul: pairForm("MatMul"),
  QGemm: { ...pairForm("Gemm"), bias: 6, output: [7, 8] },
  MatMulIntegerToFloat: {
    operator: "MatMul",
    operands: [
      [0, 2, 4],
      [1, 3, 5],
    ],
    unknown: 6,
  },
  QLinearAdd: pairForm("Add"),
  QLinearMul: pairForm("Mul"),
  QLinearGlobalAveragePool: unaryForm("GlobalAveragePool"),
  QLinearAveragePool: unaryForm("AveragePool"),
  QLinearSoftmax: unaryForm("Softmax"),
};

/** The unit that a node is; undefined when it is none that is known. */
export function qoperatorUnit(
  graph: Graph,
  types: ReadonlyMap<string, DataType>,
  node: Node,
): Unit | undefined {
  const form = forms[node.opType];
  if (form === undefined || node.int("channels_last", 0) !== 0) return undefined;
  if (form.unknown !== undefined && node.input(form.unknown) !== "") return undefined;
  const operands: Operand[] = [];
  for (const [codes, scale, zeroPoint] of form.operands) {
    const name = node.input(codes);
    const operand = operandOf(
      graph,
      name,
      node.input(scale),
      node.input(zeroPoint),
      types.get(name) ?? "uint8",
    );
    if (operand === undefined) return undefined;
    operands.push(operand);
  }
  const [scale, zeroPoint] = (form.output ?? []).map((index) => node.input(index));
  const isFloat = scale === undefined || scale === "";
  const type = operands[0]?.type;
  const coded = isFloat ? undefined : codedBy(operandOf(graph, "", scale, zeroPoint ?? "", type));
  if (!isFloat && coded === undefined) return undefined;
  return {
    operator: form.operator,
    node,
    operands,
    bias: form.bias === undefined ? "" : node.input(form.bias),
    isShifted: false,
    output: node.output(0),
    coded,
    nodes: [node],
  };
}
