/**
 * Writes chosen factors into a graph: the edits that `scaleFlow` lists.
 *
 * 1. Weight [as its operator lays it out] float32: element (o, j) becomes w · s_in[j] / s_out[o], in
 *    double, rounded once; bias b / s_out. A weight that other nodes read too is copied.
 * 2. A constant operand is divided, and stretched to one value per channel where it had one for all.
 * 3. In front of a gate: Mul(x, s), s [C, 1, …]. Gates that read the same value share it.
 *    HardSwish(x) becomes Mul(x, HardSigmoid(Mul(x, s))) with alpha 1/6 and beta 0.5 (ONNX opset 14).
 *
 * Nothing is written for a node all of whose factors are 1.
 */
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import { floatTensor, tensorFloats, tensorShape } from "../../onnx/tensor.ts";
import { weightShape } from "./linear-weight.ts";
import type { ScaleFlow } from "./scale-flow.ts";
import {
  type ConstantEdit,
  channelAt,
  type GateEdit,
  type LinearEdit,
  type ScaledValue,
} from "./scaled-value.ts";

/** The factor of each variable; 1 where it is pinned. */
export type Factors = Float64Array;

/** Returns how many nodes got other constants, and how many Mul nodes were added. */
export function applyFactors(
  graph: Graph,
  flow: ScaleFlow,
  factors: Factors,
): { scaledNodes: number; addedNodes: number } {
  const factorsOf = (value: ScaledValue | undefined): Float64Array | undefined => {
    if (value === undefined) return undefined;
    const own = Float64Array.from(value.variables, (at) => factors[flow.rootOf(at)]!);
    return own.some((factor) => factor !== 1) ? own : undefined;
  };
  let scaledNodes = 0;
  for (const edit of flow.linears) {
    if (scaleLinear(graph, edit, factorsOf(edit.input), factorsOf(edit.output))) scaledNodes++;
  }
  for (const edit of flow.constants) {
    const own = factorsOf(edit.value);
    if (own === undefined) continue;
    divideConstant(graph, edit, own);
    scaledNodes++;
  }
  let addedNodes = 0;
  const restored = new Map<string, string>();
  for (const edit of flow.gates) {
    const own = factorsOf(edit.value);
    if (own === undefined) continue;
    const name = edit.node.input(edit.input);
    if (!restored.has(name)) {
      restored.set(name, restore(graph, name, edit.value, own));
      addedNodes++;
    }
    readRestored(graph, edit, restored.get(name)!);
  }
  return { scaledNodes, addedNodes };
}

function scaleLinear(
  graph: Graph,
  { node, fact, layout, input, output }: LinearEdit,
  before: Float64Array | undefined,
  after: Float64Array | undefined,
): boolean {
  if (before === undefined && after === undefined) return false;
  const weight = graph.constant(node.input(fact.input))!;
  const shape = tensorShape(weight);
  const values = tensorFloats(weight).slice();
  const { features, forEach } = weightShape(node, layout, shape);
  forEach((channel, feature, index) => {
    const from = input === undefined ? 0 : channelAt(input, feature, features);
    values[index] = (values[index]! * (before?.[from] ?? 1)) / (after?.[channel] ?? 1);
  });
  replaceConstant(graph, node, fact.input, shape, values);
  const bias = fact.bias === undefined ? "" : node.input(fact.bias);
  if (bias === "" || after === undefined || output === undefined) return true;
  const tensor = graph.constant(bias)!;
  const divided = tensorFloats(tensor).map((value, channel) => value / after[channel]!);
  replaceConstant(graph, node, fact.bias!, tensorShape(tensor), divided);
  return true;
}

function divideConstant(
  graph: Graph,
  { node, input, value }: ConstantEdit,
  factors: Float64Array,
): void {
  const tensor = graph.constant(node.input(input))!;
  const given = tensorShape(tensor);
  const missing = Math.max(value.axisFromEnd - given.length, 0);
  const shape = [...new Array<number>(missing).fill(1), ...given];
  const axis = shape.length - value.axisFromEnd;
  const isStretched = shape[axis] === 1;
  const length = isStretched ? factors.length : shape[axis]!;
  const inner = shape.slice(axis + 1).reduce((product, dim) => product * dim, 1);
  const source = tensorFloats(tensor);
  const divided = new Float32Array(isStretched ? source.length * length : source.length);
  for (let at = 0; at < divided.length; at++) {
    const position = Math.floor(at / inner) % length;
    const from = isStretched ? Math.floor(at / inner / length) * inner + (at % inner) : at;
    divided[at] = source[from]! / factors[channelAt(value, position, length)]!;
  }
  replaceConstant(graph, node, input, shape.with(axis, length), divided);
}

/** Adds the Mul that gives a gate the unscaled value; returns its name. */
function restore(
  graph: Graph,
  name: string,
  { axisFromEnd }: ScaledValue,
  factors: Float64Array,
): string {
  const shape = [factors.length, ...new Array<number>(axisFromEnd - 1).fill(1)];
  const constant = graph.uniqueName(`${name}_factors`);
  graph.setInitializer(floatTensor(constant, shape, factors));
  const output = graph.uniqueName(`${name}_unscaled`);
  graph.addNode({ opType: "Mul", inputs: [name, constant], outputs: [output], name: output });
  return output;
}

function readRestored(graph: Graph, { node, input }: GateEdit, restored: string): void {
  if (!node.is("HardSwish")) {
    graph.setInput(node, input, restored);
    return;
  }
  const [value, output] = [node.input(0), node.output(0)];
  const gate = graph.uniqueName(`${output}_gate`);
  graph.removeNode(node);
  graph.addNode({
    opType: "HardSigmoid",
    inputs: [restored],
    outputs: [gate],
    attributes: { alpha: { float: 1 / 6 }, beta: { float: 0.5 } },
    name: gate,
  });
  graph.addNode({ opType: "Mul", inputs: [value, gate], outputs: [output], name: node.name });
}

/** Gives a node a constant of its own in place of the one it reads. */
export function replaceConstant(
  graph: Graph,
  node: Node,
  input: number,
  shape: readonly number[],
  values: Float32Array,
): void {
  const old = node.input(input);
  const isOwn =
    graph.onlyConsumerOf(old) === node && node.inputs.filter((name) => name === old).length === 1;
  const name = isOwn ? old : graph.uniqueName(old);
  graph.setInitializer(floatTensor(name, shape, values));
  if (!isOwn) graph.setInput(node, input, name);
}
