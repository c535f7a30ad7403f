/** Reads the nodes of a model as gradient rules see them. */
import { assert } from "../../shared/assert.ts";
import type { AttributeProto, GraphProto, NodeProto } from "../onnx/schema.ts";
import type { ForwardNode } from "./gradient-rule.ts";

/** One entry per node, in the file's order, which ONNX demands to be topological. */
export function forwardNodes(graph: GraphProto): ForwardNode[] {
  return graph.node.map((node, index) => forwardNode(node, index));
}

function forwardNode(node: NodeProto, index: number): ForwardNode {
  const attributes = new Map(node.attribute.map((attribute) => [attribute.name, attribute]));
  const read = <T>(name: string, fallback: T, value: (from: AttributeProto) => T): T => {
    const attribute = attributes.get(name);
    return attribute === undefined ? fallback : value(attribute);
  };
  assert(node.output.length > 0, `node ${index} has no output`);
  // Operators of other domains have no rule here, whatever their name.
  const domain = node.domain === undefined || node.domain === "" ? "" : `${node.domain}.`;
  return {
    name: node.name ?? `#${index}`,
    opType: `${domain === "ai.onnx." ? "" : domain}${node.opType ?? ""}`,
    inputs: node.input,
    outputs: node.output,
    int: (name, fallback) => read(name, fallback, ({ i }) => Number(i ?? 0n)),
    ints: (name, fallback) => read(name, fallback, ({ ints }) => ints.map(Number)),
    float: (name, fallback) => read(name, fallback, ({ f }) => f ?? 0),
    string: (name, fallback) =>
      read(name, fallback, ({ s }) => new TextDecoder().decode(s ?? new Uint8Array())),
  };
}
