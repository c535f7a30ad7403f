/**
 * Operators on codes, by the float operator that they stand for: where each takes codes, scales and zero
 * points, and which forms of the float operator have none. One entry adds an operator.
 *
 * Source: ONNX opset 21 QLinearConv, QLinearMatMul; onnxruntime 1.30, docs/ContribOperators.md, and for
 * the order of inputs qdq_actions.cc.
 */
import type { AttributeInputs } from "../../onnx/build.ts";
import type { Node } from "../../onnx/node.ts";
import type { AttributeProto } from "../../onnx/schema.ts";

/** Names of the values that say what a code means. */
export interface CodeNames {
  readonly scale: string;
  readonly zeroPoint: string;
}

export interface CodedOperand extends CodeNames {
  readonly codes: string;
}

export interface QOperatorRequest {
  readonly node: Node;
  /** Data inputs in the order of the float operator. */
  readonly operands: readonly CodedOperand[];
  /** int32 codes, "" for none. */
  readonly bias: string;
  /** Undefined when the operator yields floats. */
  readonly output: CodeNames | undefined;
}

export interface QOperatorNode {
  readonly opType: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly attributes?: AttributeInputs;
  readonly copiedAttributes: readonly AttributeProto[];
}

export interface QOperatorForm {
  /** Data inputs; all but the bias where it is not said. */
  readonly dataInputs?: readonly number[];
  readonly bias?: number;
  /** True when there is a kernel that yields floats. */
  readonly mayYieldFloats?: boolean;
  /** Takes one zero point with a scale per channel; others want as many of one as of the other. */
  readonly mayShareZeroPoint?: boolean;
  readonly refusal?: (node: Node) => string | undefined;
  readonly build: (request: QOperatorRequest) => QOperatorNode;
}

const contrib = "com.microsoft";

const triple = ({ codes, scale, zeroPoint }: CodedOperand): string[] => [codes, scale, zeroPoint];

const pair = (names: CodeNames | undefined): string[] =>
  names === undefined ? [] : [names.scale, names.zeroPoint];

/** Without the absent inputs at the end. */
const trimmed = (inputs: readonly string[]): string[] =>
  inputs.slice(0, inputs.findLastIndex((name) => name !== "") + 1);

const attributesWithout = (node: Node, ...names: readonly string[]): AttributeProto[] =>
  node.proto.attribute.filter(({ name }) => !names.includes(name ?? ""));

/** Operands, then the output's parameters: the order of most. */
const inOrder = (opType: string, domain: string = contrib): QOperatorForm => ({
  build: ({ node, operands, output }) => ({
    opType,
    domain,
    inputs: [...operands.flatMap(triple), ...pair(output)],
    copiedAttributes: node.proto.attribute,
  }),
});

/** [x, w, bias at the end]. */
const conv: QOperatorForm = {
  bias: 2,
  mayShareZeroPoint: true,
  build: ({ node, operands, bias, output }) => ({
    opType: "QLinearConv",
    domain: "",
    inputs: trimmed([...operands.flatMap(triple), ...pair(output), bias]),
    copiedAttributes: node.proto.attribute,
  }),
};

/** beta is not an attribute of QGemm; alpha is. */
const gemm: QOperatorForm = {
  bias: 2,
  mayYieldFloats: true,
  refusal: (node) => (node.float("beta", 1) === 1 ? undefined : "its beta is not 1"),
  build: ({ node, operands, bias, output }) => ({
    opType: "QGemm",
    domain: contrib,
    inputs: trimmed([...operands.flatMap(triple), bias, ...pair(output)]),
    copiedAttributes: attributesWithout(node, "beta"),
  }),
};

const matMul: QOperatorForm = {
  mayYieldFloats: true,
  build(request) {
    const { operands, output } = request;
    if (output !== undefined) return inOrder("QLinearMatMul", "").build(request);
    const columns = (key: keyof CodedOperand): string[] => operands.map((operand) => operand[key]);
    return {
      opType: "MatMulIntegerToFloat",
      domain: contrib,
      inputs: [...columns("codes"), ...columns("scale"), ...columns("zeroPoint")],
      copiedAttributes: [],
    };
  },
};

/** The output's parameters come first. */
const concat: QOperatorForm = {
  build: ({ node, operands, output }) => ({
    opType: "QLinearConcat",
    domain: contrib,
    inputs: [...pair(output), ...operands.flatMap(triple)],
    copiedAttributes: node.proto.attribute,
  }),
};

/** `opset` says which of Softmax's meanings holds: 13 for one axis. */
const softmax: QOperatorForm = {
  build: ({ node, operands, output }) => ({
    opType: "QLinearSoftmax",
    domain: contrib,
    inputs: [...operands.flatMap(triple), ...pair(output)],
    attributes: { axis: { int: node.int("axis", -1) }, opset: { int: 13 } },
    copiedAttributes: [],
  }),
};

const averagePool: QOperatorForm = {
  ...inOrder("QLinearAveragePool"),
  refusal: (node) => (node.has("dilations") ? "its dilations have no kernel on codes" : undefined),
};

/** The condition stays as it is. */
const where: QOperatorForm = {
  dataInputs: [1, 2],
  build: ({ node, operands, output }) => ({
    opType: "QLinearWhere",
    domain: contrib,
    inputs: [node.input(0), ...operands.flatMap(triple), ...pair(output)],
    copiedAttributes: [],
  }),
};

/** By ONNX's own operator. Softmax only has this meaning since 13 (ONNX opset 13 Softmax). */
export const qOperatorForms: Readonly<Record<string, QOperatorForm>> = {
  Add: inOrder("QLinearAdd"),
  AveragePool: averagePool,
  Concat: concat,
  Conv: conv,
  Gemm: gemm,
  GlobalAveragePool: inOrder("QLinearGlobalAveragePool"),
  LeakyRelu: inOrder("QLinearLeakyRelu"),
  MatMul: matMul,
  Mul: inOrder("QLinearMul"),
  Sigmoid: inOrder("QLinearSigmoid"),
  Softmax: softmax,
  Where: where,
};
