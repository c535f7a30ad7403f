/**
 * Finds the operators that onnxruntime runs on codes when a file says so by QuantizeLinear and
 * DequantizeLinear, and reads each into a unit.
 *
 * Steps, for an operator whose data inputs all come from DequantizeLinear:
 * 1. Its output, or that of a Relu or Clip behind it that the QuantizeLinear makes needless, is read by
 *    one QuantizeLinear and nothing else: the unit yields codes.
 * 2. Gemm and MatMul without QuantizeLinear yield float32.
 * 3. On x86 int8 activations become uint8 when the runtime can shift the pair, since x86 has no kernels for
 *    them: the same values, codes and zero point 128 higher. A pair with several readers cannot be
 *    shifted; its readers stay float.
 *
 * Source: onnxruntime 1.30, qdq_selectors.cc (CheckQDQNodes and the Check of each selector),
 * relu_quant_fusion.cc, clip_quant_fusion.cc, qdq_s8_to_u8.cc.
 */

import type { Processor } from "../../../shared/devices/processor.ts";
import type { DataType } from "../../onnx/data-type.ts";
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import type { Bounds } from "../../onnx/ops/op-fact.ts";
import { factOf } from "../../onnx/ops/registry.ts";
import type { CodeParameters } from "./requantize.ts";
import { codedBy, type Operand, operandOf, type Unit } from "./unit.ts";

/** What may stand between DequantizeLinear and QuantizeLinear, and where its bias is. */
const operators: Readonly<Record<string, { readonly bias?: number; readonly mayBeFloat?: true }>> =
  {
    Conv: { bias: 2 },
    Gemm: { bias: 2, mayBeFloat: true },
    MatMul: { mayBeFloat: true },
    Add: {},
    Mul: {},
    GlobalAveragePool: {},
    AveragePool: {},
    Softmax: {},
  };

/** The unit around a node; undefined when the runtime computes the node on floats. */
export function qdqUnit(
  graph: Graph,
  types: ReadonlyMap<string, DataType>,
  node: Node,
  processor: Processor,
): Unit | undefined {
  const form = node.domain === "" ? operators[node.opType] : undefined;
  if (form === undefined) return undefined;
  const biasName = form.bias === undefined ? "" : node.input(form.bias);
  const dataInputs = node.inputs.filter((_name, index) => index !== form.bias);
  const read = dataInputs.map((name) => dequantized(graph, types, name));
  if (read.some((operand) => operand === undefined)) return undefined;
  const operands = read as Operand[];
  const bias = biasName === "" ? undefined : dequantized(graph, types, biasName);
  if (biasName !== "" && bias?.type !== "int32") return undefined;
  const sink = sinkOf(graph, types, node);
  if (sink === undefined && form.mayBeFloat !== true) return undefined;
  const hasSignedKernels = processor === "arm";
  if (!hasSignedKernels && !fitsX86(graph, operands, sink)) return undefined;
  return {
    operator: node.opType,
    node,
    operands,
    bias: bias?.name ?? "",
    isShifted: !hasSignedKernels,
    output: sink?.output ?? node.output(0),
    coded: sink?.coded,
    nodes: [
      ...new Set(node.inputs.flatMap((name) => graph.producerOf(name) ?? [])),
      node,
      ...(sink?.nodes ?? []),
    ],
  };
}

/** What a DequantizeLinear reads; undefined when the value comes from elsewhere. */
function dequantized(
  graph: Graph,
  types: ReadonlyMap<string, DataType>,
  name: string,
): Operand | undefined {
  const node = graph.producerOf(name);
  if (node?.opType !== "DequantizeLinear") return undefined;
  return operandOf(graph, node.input(0), node.input(1), node.input(2), types.get(node.input(0)));
}

interface Sink {
  readonly output: string;
  readonly coded: CodeParameters;
  readonly nodes: readonly Node[];
}

function sinkOf(graph: Graph, types: ReadonlyMap<string, DataType>, node: Node): Sink | undefined {
  const next = graph.onlyConsumerOf(node.output(0));
  if (next === undefined) return undefined;
  const role = factOf(next)?.quantization;
  if (role?.kind !== "absorbed") return quantizer(graph, types, next, undefined);
  const last = graph.onlyConsumerOf(next.output(0));
  const bounds = role.bounds(next, graph);
  const sink = last === undefined ? undefined : quantizer(graph, types, last, bounds);
  return sink === undefined ? undefined : { ...sink, nodes: [next, ...sink.nodes] };
}

function quantizer(
  graph: Graph,
  types: ReadonlyMap<string, DataType>,
  node: Node,
  bounds: Bounds | undefined,
): Sink | undefined {
  if (node.opType !== "QuantizeLinear") return undefined;
  const type = types.get(node.output(0));
  const coded = codedBy(operandOf(graph, "", node.input(1), node.input(2), type));
  if (coded === undefined) return undefined;
  if (bounds !== undefined && !coversNoMore(coded, bounds)) return undefined;
  return { output: node.output(0), coded, nodes: [node] };
}

/** True when no code stands for a value beyond the bounds. */
function coversNoMore({ type, scale, zeroPoint }: CodeParameters, { min, max }: Bounds): boolean {
  const [low, high] = type === "uint8" ? [0, 255] : [-128, 127];
  return (
    Math.fround(scale * (low - zeroPoint)) >= min && Math.fround(scale * (high - zeroPoint)) <= max
  );
}

/**
 * Whether x86 has kernels for these types. int8 activations have none: their pairs must be ones that the
 * runtime shifts to uint8, the output's too.
 */
function fitsX86(graph: Graph, operands: readonly Operand[], sink: Sink | undefined): boolean {
  const activations = operands.filter(({ name }) => graph.constant(name) === undefined);
  const codes = [
    ...activations,
    ...(sink === undefined ? [] : [{ name: sink.output, ...sink.coded }]),
  ];
  return codes.every(({ name, type }) => type === "uint8" || isShiftable(graph, name));
}

/**
 * Codes that one QuantizeLinear makes for one DequantizeLinear with one reader, or for an output of the
 * graph. With more readers each gets a DequantizeLinear of its own first, which keeps the codes as they are.
 */
function isShiftable(graph: Graph, codes: string): boolean {
  const reader = graph.onlyConsumerOf(codes);
  if (reader?.opType !== "DequantizeLinear") return false;
  const value = reader.output(0);
  const readers = graph.consumersOf(value).length + (graph.isOutput(value) ? 1 : 0);
  return graph.producerOf(codes)?.opType === "QuantizeLinear" && readers === 1;
}
