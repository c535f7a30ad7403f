/**
 * Keeps float what is meant to stay float. At load onnxruntime rounds float weights of Conv,
 * ConvTranspose and Gemm (MatMul and Add become one) to int8, with one scale for all, wherever the
 * node stands between a DequantizeLinear of one scale and a QuantizeLinear; other operators become
 * their 8-bit kernels there. Two forms are left alone:
 *
 * 1. A node with float weights reads its input through a DequantizeLinear of its own, with the same
 *    scale once per channel (float32 [channels] along the input's channel axis). It costs no node.
 * 2. A node whose input has one channel, which counts as one scale, or that has no weights, gets
 *    Max(y, lowest float32) behind it, which changes nothing and stands between it and QuantizeLinear.
 *
 * Source: onnxruntime 1.30, weight_bias_quantization.cc (IsScalar, IsNoBranchPathToQuantizeLinear) and
 * qdq_selectors.cc; dumps of optimized graphs.
 */
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import type { ChannelAxis } from "../../onnx/ops/op-fact.ts";
import { factOf } from "../../onnx/ops/registry.ts";
import { floatTensor, tensorShape } from "../../onnx/tensor.ts";
import type { Selection } from "./selection.ts";

/** The most negative finite float32. */
const lowest = -3.4028234663852886e38;

export interface FloatGuards {
  /** Nodes that read input 0 through one scale per channel (1). */
  readonly perChannel: ReadonlyMap<Node, ChannelAxis>;
  /** Nodes that get Max behind them (2). */
  readonly behind: readonly Node[];
}

/** Which nodes of a selection need a guard. The graph must be as it was selected from. */
export function floatGuards(graph: Graph, selection: Selection): FloatGuards {
  const taken = new Set(selection.nodes.map(({ node }) => node));
  const codes = new Set(selection.nodes.flatMap(({ outputs }) => outputs));
  const perChannel = new Map<Node, ChannelAxis>();
  const behind: Node[] = [];
  for (const node of graph.nodes) {
    if (taken.has(node) || !node.inputs.some((name) => codes.has(name))) continue;
    const channels = inputChannels(graph, node);
    if (channels !== undefined && channels.count > 1) perChannel.set(node, channels);
    else if (channels !== undefined || selection.excluded.has(node) || isProduct(node, codes)) {
      if (leadsToCodes(graph, node.output(0), selection.values)) behind.push(node);
    }
  }
  return { perChannel, behind };
}

/** Puts Max(y, lowest) behind a node; readers keep the value's name. */
export function putMaxBehind(graph: Graph, node: Node): void {
  const name = node.output(0);
  const raw = graph.uniqueName(`${name}_float`);
  const bound = graph.uniqueName("lowest");
  graph.setInitializer(floatTensor(bound, [], [lowest]));
  graph.setOutputs(node, [raw, ...node.outputs.slice(1)]);
  graph.addNode({ opType: "Max", inputs: [raw, bound], outputs: [name] });
}

/** How a node with constant weights counts the channels of its input. */
function inputChannels(graph: Graph, node: Node): ChannelAxis | undefined {
  const fact = factOf(node)?.weight;
  const weight = fact === undefined ? undefined : graph.constant(node.input(fact.input));
  return weight === undefined ? undefined : fact!.inputChannels(node, tensorShape(weight));
}

/**
 * A product of two quantized activations that was not taken: multiplying their codes loses nothing,
 * rounding what comes out does.
 */
function isProduct(node: Node, codes: ReadonlySet<string>): boolean {
  const role = factOf(node)?.quantization;
  const isAble = role?.kind === "linear" && role.multipliesActivations === true;
  return isAble && node.inputs.every((name) => codes.has(name));
}

/** True when QuantizeLinear will follow, directly or behind activations. */
function leadsToCodes(graph: Graph, name: string, values: ReadonlySet<string>): boolean {
  if (values.has(name)) return true;
  return graph
    .consumersOf(name)
    .some(
      (reader) =>
        factOf(reader)?.quantization?.kind === "absorbed" &&
        leadsToCodes(graph, reader.output(0), values),
    );
}
