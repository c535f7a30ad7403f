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

/** New names by old ones; all renamings happen at once, so a new name may be another's old one. */
export type Renaming = ReadonlyMap<string, string>;

/** The subgraph with its reads of outer values renamed; what it defines itself keeps its name. */
function renameCaptured(graph: GraphProto, names: Renaming): GraphProto {
  const captured = capturedNames(graph).filter((name) => names.has(name));
  if (captured.length === 0) return graph;
  const outer = new Map(captured.map((name) => [name, names.get(name)!]));
  return {
    ...graph,
    node: graph.node.map((node) => renameInNode(node, outer)),
    output: graph.output.map((output) => {
      const name = outer.get(output.name ?? "");
      return name === undefined ? output : { ...output, name };
    }),
  };
}

/** A node with the reads of its subgraphs renamed; its own inputs stay. */
export function renameInSubgraphs(node: NodeProto, names: Renaming): NodeProto {
  const rename = (graph: GraphProto): GraphProto => renameCaptured(graph, names);
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

function renameInNode(node: NodeProto, names: Renaming): NodeProto {
  const renamed = subgraphsOf(node).length === 0 ? node : renameInSubgraphs(node, names);
  if (!node.input.some((name) => names.has(name))) return renamed;
  return { ...renamed, input: node.input.map((name) => names.get(name) ?? name) };
}
