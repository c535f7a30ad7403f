/**
 * Takes out what no graph output depends on: nodes, initializers, and what the file says of values
 * that are gone. Graph inputs stay, since callers feed them.
 */
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import { counted, definePass, exactTolerance, noOptions } from "../pass.ts";

export const removeDeadNodes = definePass({
  name: "remove-dead-nodes",
  summary: "Removes nodes and weights that no output depends on.",
  options: noOptions,
  tolerance: exactTolerance,
  run(_context, model) {
    const { graph } = model;
    const live = liveNodes(graph);
    const dead = graph.nodes.filter((node) => !live.has(node));
    for (const node of dead) graph.removeNode(node);
    const unused = [...graph.initializers.keys()].filter((name) => !isUsed(graph, name));
    for (const name of unused) graph.removeInitializer(name);
    return counted("nodes", dead.length + unused.length, {
      nodes: dead.length,
      initializers: unused.length,
    });
  },
});

function liveNodes(graph: Graph): Set<Node> {
  const live = new Set<Node>();
  const pending = graph.outputNames;
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    const node = graph.producerOf(name);
    if (node === undefined || live.has(node)) continue;
    live.add(node);
    pending.push(...node.inputs, ...node.captured);
  }
  return live;
}

function isUsed(graph: Graph, name: string): boolean {
  return graph.consumersOf(name).length > 0 || graph.isOutput(name) || graph.isInput(name);
}
