/**
 * The part of a model that makes some of its values: all that comes after them is left out, so that
 * running it costs no more than it must. Graph inputs stay, read or not, since samples bring them. A part
 * that reads none of them is not cut out: the runtime refuses a model in which nothing is left to run
 * once constants are folded.
 */
import type { Graph } from "../../onnx/graph.ts";
import type { Model } from "../../onnx/model.ts";
import type { Node } from "../../onnx/node.ts";
import { tapModel } from "./tap-model.ts";

/** A copy of the model that yields `tensors`, each made by a node, and where it can nothing else. */
export function prefixModel(model: Model, tensors: readonly string[]): Model {
  const prefix = tapModel(model, tensors);
  const { graph } = prefix;
  const needed = ancestors(graph, tensors);
  if (![...needed].some((node) => node.inputs.some((name) => graph.isInput(name)))) return prefix;
  const wanted = new Set(tensors);
  graph.setOutputInfos(graph.outputs.filter(({ name }) => wanted.has(name ?? "")));
  for (const node of graph.nodes) if (!needed.has(node)) graph.removeNode(node);
  for (const name of [...graph.initializers.keys()]) {
    if (graph.consumersOf(name).length === 0) graph.removeInitializer(name);
  }
  return prefix;
}

/** The nodes that values come from. */
function ancestors(graph: Graph, tensors: readonly string[]): Set<Node> {
  const found = new Set<Node>();
  const open = [...tensors];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const producer = graph.producerOf(name);
    if (producer === undefined || found.has(producer)) continue;
    found.add(producer);
    open.push(...producer.inputs, ...producer.captured);
  }
  return found;
}
