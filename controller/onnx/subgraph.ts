/**
 * Graphs inside nodes (If, Loop, Scan). They read values of the graphs around them by name, without
 * listing them as inputs, so whoever renames or removes a value has to look inside.
 */
import type { AttributeProto, GraphProto, NodeProto } from "./schema.ts";

/** Names that a subgraph reads from the graphs around it, in order of appearance, each once. */
export function capturedNames(graph: GraphProto): string[] {
  const own = definedNames(graph);
  const captured = new Set<string>();
  const read = (name: string): void => {
    if (name !== "" && !own.has(name)) captured.add(name);
  };
  for (const node of graph.node) {
    for (const name of node.input) read(name);
    for (const inner of subgraphsOf(node)) for (const name of capturedNames(inner)) read(name);
  }
  for (const output of graph.output) read(output.name ?? "");
  return [...captured];
}

/** The subgraph with every read of the outer value `from` turned into a read of `to`. */
export function renameCaptured(graph: GraphProto, from: string, to: string): GraphProto {
  if (!capturedNames(graph).includes(from)) return graph;
  return {
    ...graph,
    node: graph.node.map((node) => renameInNode(node, from, to)),
    output: graph.output.map((output) => (output.name === from ? { ...output, name: to } : output)),
  };
}

/** A node with the reads of its subgraphs renamed; its own inputs stay. */
export function renameInSubgraphs(node: NodeProto, from: string, to: string): NodeProto {
  const rename = (graph: GraphProto): GraphProto => renameCaptured(graph, from, to);
  return {
    ...node,
    attribute: node.attribute.map((attribute): AttributeProto => {
      if (attribute.g === undefined && attribute.graphs.length === 0) return attribute;
      return {
        ...attribute,
        ...(attribute.g === undefined ? {} : { g: rename(attribute.g) }),
        graphs: attribute.graphs.map(rename),
      };
    }),
  };
}

/** All graphs directly inside a node. */
export function subgraphsOf(node: NodeProto): GraphProto[] {
  return node.attribute.flatMap(({ g, graphs }) => (g === undefined ? graphs : [g, ...graphs]));
}

/** Every name that a graph defines itself: inputs, initializers and outputs of its nodes. */
export function definedNames(graph: GraphProto): Set<string> {
  const names = new Set<string>();
  for (const { name } of [...graph.input, ...graph.initializer]) names.add(name ?? "");
  for (const { values } of graph.sparseInitializer) names.add(values?.name ?? "");
  for (const node of graph.node) for (const name of node.output) names.add(name);
  names.delete("");
  return names;
}

/** As `definedNames`, with those of the graphs inside. */
export function allNames(graph: GraphProto): Set<string> {
  const names = definedNames(graph);
  for (const inner of graph.node.flatMap(subgraphsOf)) {
    for (const name of allNames(inner)) names.add(name);
  }
  return names;
}

function renameInNode(node: NodeProto, from: string, to: string): NodeProto {
  const renamed = subgraphsOf(node).length === 0 ? node : renameInSubgraphs(node, from, to);
  if (!node.input.includes(from)) return renamed;
  return { ...renamed, input: node.input.map((name) => (name === from ? to : name)) };
}
