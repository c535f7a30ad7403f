/**
 * Folds a constant factor or offset into the weights behind it. Re-parametrised networks leave one
 * behind every activation, where nothing in front can take it, and int8 would round at each.
 *
 * W float32, constant; k and t constants of one element; u, v the values around.
 * 1. v = u · k: W·(u·k) = (W·k)·u. Conv, Gemm, MatMul, whatever the padding, since 0 · k is 0.
 * 2. v = u + t: W·(u + t) + b = W·u + (b + t · ΣW per output). Conv without padding, and Gemm.
 * 3. v = u · k + t where 2 does not hold: v = (u + t/k) · k, and the factor is folded as in 1.
 *
 * All that read v must be able to take it, as their input 0; otherwise it stays for all.
 */
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import { factOf } from "../../onnx/ops/registry.ts";
import { floatTensor, tensorFloats, tensorShape } from "../../onnx/tensor.ts";
import { counted, definePass, noOptions, reorderTolerance } from "../pass.ts";
import { forEachChannel } from "../quantize/scale.ts";
import { ownName } from "./channel-affine.ts";
import { scalarOf } from "./pattern.ts";

export const foldIntoNext = definePass({
  name: "fold-into-next",
  summary: "Folds constant factors and offsets into the weights behind them.",
  options: noOptions,
  tolerance: reorderTolerance,
  run(_context, model) {
    const { graph } = model;
    let folded = 0;
    // Each fold takes a node out, so this ends.
    for (let before = -1; folded > before; ) {
      before = folded;
      // From the end to the front: what a fold uncovers lies before it.
      for (const node of graph.sortedNodes().reverse()) {
        if (graph.hasNode(node) && fold(graph, node)) folded++;
      }
    }
    return counted("folded", folded);
  },
});

/** u and the constant of u · k, u / k, u + t or u − t. */
interface Step {
  readonly node: Node;
  readonly value: string;
  readonly constant: number;
}

function fold(graph: Graph, node: Node): boolean {
  const factor = factorOf(graph, node);
  if (factor !== undefined) return foldFactor(graph, factor);
  const offset = offsetOf(graph, node);
  if (offset === undefined) return false;
  return foldOffset(graph, offset) || foldFactorBefore(graph, offset);
}

function factorOf(graph: Graph, node: Node): Step | undefined {
  if (node.is("Mul")) return stepOf(graph, node, (constant) => constant, true);
  return node.is("Div") ? stepOf(graph, node, (constant) => 1 / constant, false) : undefined;
}

function offsetOf(graph: Graph, node: Node): Step | undefined {
  if (node.is("Add")) return stepOf(graph, node, (constant) => constant, true);
  return node.is("Sub") ? stepOf(graph, node, (constant) => -constant, false) : undefined;
}

function stepOf(
  graph: Graph,
  node: Node,
  constantOf: (value: number) => number,
  isCommutative: boolean,
): Step | undefined {
  const orders = isCommutative ? [node.inputs, node.inputs.toReversed()] : [node.inputs];
  for (const [value, name] of orders as [string, string][]) {
    const scalar = scalarOf(graph, name);
    if (scalar === undefined || scalarOf(graph, value) !== undefined) continue;
    const constant = constantOf(scalar);
    return Number.isFinite(constant) ? { node, value, constant } : undefined;
  }
  return undefined;
}

/** Case 1. */
function foldFactor(graph: Graph, { node, value, constant }: Step): boolean {
  const readers = linearReaders(graph, node.output(0));
  if (readers === undefined || constant === 0) return false;
  for (const reader of readers) {
    editWeight(graph, reader, (weight) => weight.map((element) => element * constant));
  }
  bypass(graph, node, value);
  return true;
}

/** Case 2. */
function foldOffset(graph: Graph, { node, value, constant }: Step): boolean {
  const readers = linearReaders(graph, node.output(0));
  if (!readers?.every((reader) => takesOffset(graph, reader))) return false;
  for (const reader of readers) {
    const { weight, layout, bias } = weightOf(graph, reader)!;
    const sums = new Float64Array(layout!.groups * layout!.channels);
    const elements = tensorFloats(weight);
    forEachChannel(layout!, (channel, at) => {
      sums[channel]! += elements[at]!;
    });
    const old = reader.input(bias!);
    const values = old === "" ? new Float32Array(sums.length) : tensorFloats(graph.constant(old)!);
    const shifted = values.map((element, channel) => element + constant * sums[channel]!);
    const name =
      old === "" ? graph.uniqueName(`${reader.output(0)}_bias`) : ownName(graph, old, reader);
    graph.setInitializer(floatTensor(name, [sums.length], shifted));
    graph.setInput(reader, bias!, name);
  }
  bypass(graph, node, value);
  return true;
}

/** Case 3: `offset` is the Add behind a factor. */
function foldFactorBefore(graph: Graph, offset: Step): boolean {
  const before = graph.producerOf(offset.value);
  const factor = before === undefined ? undefined : factorOf(graph, before);
  const readers = linearReaders(graph, offset.node.output(0));
  if (factor === undefined || readers === undefined || factor.constant === 0) return false;
  if (graph.onlyConsumerOf(offset.value) !== offset.node) return false;
  const shift = Math.fround(offset.constant / factor.constant);
  if (!Number.isFinite(shift)) return false;
  for (const reader of readers) {
    editWeight(graph, reader, (weight) => weight.map((element) => element * factor.constant));
  }
  const name = graph.uniqueName(`${offset.node.output(0)}_offset`);
  const [output] = offset.node.outputs;
  graph.removeNode(offset.node);
  bypass(graph, factor.node, factor.value);
  graph.setInitializer(floatTensor(name, [], [shift]));
  graph.addNode({
    opType: "Add",
    inputs: [factor.value, name],
    outputs: [output!],
    ...(offset.node.name === "" ? {} : { name: offset.node.name }),
  });
  return true;
}

/** The nodes that read a value, when all of them multiply it by a constant weight of their own kind. */
function linearReaders(graph: Graph, name: string): readonly Node[] | undefined {
  const readers = graph.consumersOf(name);
  if (readers.length === 0 || graph.isOutput(name)) return undefined;
  const isLinear = (reader: Node): boolean =>
    reader.input(0) === name &&
    reader.inputs.lastIndexOf(name) === 0 &&
    weightOf(graph, reader) !== undefined;
  return readers.every(isLinear) ? readers : undefined;
}

function weightOf(graph: Graph, node: Node) {
  const fact = node.domain === "" ? factOf(node)?.weight : undefined;
  if (fact === undefined) return undefined;
  const name = node.input(fact.input);
  const weight = graph.constant(name);
  if (weight === undefined || graph.declaredType(name) !== "float32") return undefined;
  return {
    name,
    input: fact.input,
    weight,
    layout: fact.layout(node, tensorShape(weight)),
    bias: fact.bias,
  };
}

/** Where the padding is not zero, the border would lose its share of the offset. */
function takesOffset(graph: Graph, node: Node): boolean {
  const found = weightOf(graph, node);
  if (found?.layout === undefined || found.bias === undefined) return false;
  const bias = node.input(found.bias);
  const channels = found.layout.groups * found.layout.channels;
  const isVector =
    bias === "" ||
    (graph.declaredType(bias) === "float32" &&
      graph.constant(bias)?.dims.join() === String(channels));
  if (node.is("Gemm")) return isVector && node.int("transA", 0) === 0;
  const isPadded =
    node.ints("pads", []).some((pad) => pad !== 0) ||
    !["NOTSET", "VALID"].includes(node.string("auto_pad", "NOTSET"));
  return node.is("Conv") && isVector && !isPadded;
}

function editWeight(graph: Graph, node: Node, edit: (weight: Float32Array) => Float32Array): void {
  const { name, input, weight } = weightOf(graph, node)!;
  const own = ownName(graph, name, node);
  graph.setInitializer(floatTensor(own, tensorShape(weight), edit(tensorFloats(weight))));
  graph.setInput(node, input, own);
}

/** Takes a node out and lets its readers read `value`. */
function bypass(graph: Graph, node: Node, value: string): void {
  const output = node.output(0);
  graph.removeNode(node);
  graph.setInfo(output, undefined);
  graph.replaceUses(output, value);
}
