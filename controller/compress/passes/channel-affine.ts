/**
 * Folds "times a factor plus an offset, per output channel" into the weight and bias of the node in
 * front: y = (W·x + b)·f + o  =  (W·f)·x + (b·f + o).
 */
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import type { ChannelLayout, WeightFact } from "../../onnx/ops/op-fact.ts";
import { factOf } from "../../onnx/ops/registry.ts";
import type { TensorProto } from "../../onnx/schema.ts";
import { floatTensor, tensorElements, tensorFloats, tensorShape } from "../../onnx/tensor.ts";
import { forEachChannel } from "../quantize/scale.ts";

export interface FoldTarget {
  readonly node: Node;
  readonly weight: TensorProto;
  readonly fact: WeightFact;
  readonly layout: ChannelLayout;
  readonly channels: number;
  /** One value per output channel, zeros where the node has no bias. */
  readonly bias: Float32Array;
  /** Position of the output's channel axis, counted from its last axis, and the output's rank. */
  readonly axisFromEnd: number;
}

/**
 * The node that makes `value`, when an affine step behind it can be folded into it: constant float32
 * weight and bias, and `value` is read by `reader` alone.
 */
export function foldTarget(graph: Graph, value: string, reader: Node): FoldTarget | undefined {
  const node = graph.producerOf(value);
  const fact = node === undefined ? undefined : factOf(node)?.weight;
  if (node === undefined || fact === undefined || node.domain !== "") return undefined;
  if (graph.onlyConsumerOf(value) !== reader) return undefined;
  const weight = graph.constant(node.input(fact.input));
  if (weight === undefined || graph.declaredType(node.input(fact.input)) !== "float32") {
    return undefined;
  }
  const shape = tensorShape(weight);
  const layout = fact.layout(node, shape);
  if (layout === undefined) return undefined;
  const channels = layout.groups * layout.channels;
  const bias = biasOf(graph, node, fact, channels);
  if (bias === undefined) return undefined;
  // A matrix product has its channels last; a convolution has them behind the batch.
  const axisFromEnd = fact.channelsLast === true ? 1 : shape.length - 1;
  return { node, weight, fact, layout, channels, bias, axisFromEnd };
}

/**
 * The constant `name` as one value per channel of the target's output, when broadcasting makes it
 * one; undefined when it varies along another axis or is not a constant.
 */
export function channelConstant(
  graph: Graph,
  name: string,
  target: FoldTarget,
): Float32Array | undefined {
  const tensor = graph.constant(name);
  if (tensor === undefined || graph.declaredType(name) !== "float32") return undefined;
  const values = tensorFloats(tensor);
  if (values.length === 1) {
    // A scalar with more dims than the output would add dims to it.
    if (tensor.dims.length > target.axisFromEnd + 1) return undefined;
    return new Float32Array(target.channels).fill(values[0]!);
  }
  const shape = tensorShape(tensor);
  const axis = shape.length - target.axisFromEnd;
  const isPerChannel =
    values.length === target.channels && axis >= 0 && axis <= 1 && shape[axis] === target.channels;
  return isPerChannel ? values : undefined;
}

/** Writes the folded weight and bias; weights that other nodes read too are copied first. */
export function foldInto(
  graph: Graph,
  target: FoldTarget,
  factors: Float32Array | undefined,
  offsets: Float32Array,
): void {
  const { node, fact, weight, layout, channels } = target;
  if (factors !== undefined) {
    const scaled = tensorFloats(weight).slice();
    forEachChannel(layout, (channel, index) => {
      scaled[index]! *= factors[channel]!;
    });
    const name = ownName(graph, node.input(fact.input), node);
    graph.setInitializer(floatTensor(name, tensorShape(weight), scaled));
    graph.setInput(node, fact.input, name);
  }
  if (fact.bias === undefined) return;
  const bias = target.bias.map(
    (value, channel) => value * (factors?.[channel] ?? 1) + offsets[channel]!,
  );
  const old = node.input(fact.bias);
  const name = old === "" ? graph.uniqueName(`${node.output(0)}_bias`) : ownName(graph, old, node);
  graph.setInitializer(floatTensor(name, [channels], bias));
  graph.setInput(node, fact.bias, name);
}

/** Lets the target make what the folded node made, and takes that node out. */
export function replaceOutput(graph: Graph, target: FoldTarget, folded: Node): void {
  const output = folded.output(0);
  graph.setInfo(target.node.output(0), undefined);
  graph.removeNode(folded);
  graph.setOutputs(target.node, [output]);
}

function biasOf(
  graph: Graph,
  node: Node,
  fact: WeightFact,
  channels: number,
): Float32Array | undefined {
  const name = fact.bias === undefined ? "" : node.input(fact.bias);
  if (name === "") return new Float32Array(channels);
  const tensor = graph.constant(name);
  if (tensor === undefined || graph.declaredType(name) !== "float32") return undefined;
  if (tensorElements(tensor) === channels && tensor.dims.at(-1) === BigInt(channels)) {
    return tensorFloats(tensor);
  }
  return undefined;
}

/** The initializer's name when only `node` reads it, or else a new one. */
export function ownName(graph: Graph, name: string, node: Node): string {
  const isOwn =
    graph.onlyConsumerOf(name) === node && node.inputs.filter((i) => i === name).length === 1;
  return isOwn ? name : graph.uniqueName(name);
}
