/**
 * The part of a model that makes some of its values: all that comes after them is left out, so that
 * running it costs no more than it must. Graph inputs stay, read or not, since samples bring them.
 */
import type { Model } from "../../onnx/model.ts";
import type { Node } from "../../onnx/node.ts";
import { tapModel } from "./tap-model.ts";

/** A copy of the model that yields `tensors` and nothing else; each is made by a node. */
export function prefixModel(model: Model, tensors: readonly string[]): Model {
  const prefix = tapModel(model, tensors);
  const { graph } = prefix;
  const wanted = new Set(tensors);
  graph.setOutputInfos(graph.outputs.filter(({ name }) => wanted.has(name ?? "")));
  const needed = new Set<Node>();
  const open = [...tensors];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const producer = graph.producerOf(name);
    if (producer === undefined || needed.has(producer)) continue;
    needed.add(producer);
    open.push(...producer.inputs, ...producer.captured);
  }
  for (const node of graph.nodes) if (!needed.has(node)) graph.removeNode(node);
  for (const name of [...graph.initializers.keys()]) {
    if (graph.consumersOf(name).length === 0) graph.removeInitializer(name);
  }
  return prefix;
}
