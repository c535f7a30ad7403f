/**
 * Infers the element type of every value: declared types first, then forward through the nodes by
 * what each operator says of itself. Shapes are not inferred here.
 */
import type { DataType } from "./data-type.ts";
import type { Graph } from "./graph.ts";
import type { Node } from "./node.ts";
import { factOf } from "./ops/registry.ts";

/** Types by value name; values whose type cannot be told are missing. */
export function elementTypes(graph: Graph): Map<string, DataType> {
  const types = new Map<string, DataType>();
  const declare = (name: string): void => {
    const type = graph.declaredType(name);
    if (type !== undefined) types.set(name, type);
  };
  for (const name of [...graph.inputNames, ...graph.initializers.keys()]) declare(name);
  for (const node of graph.sortedNodes()) {
    outputTypes(node, types).forEach((type, index) => {
      const name = node.output(index);
      if (name === "") return;
      if (type !== undefined) types.set(name, type);
      else declare(name);
    });
  }
  return types;
}

function outputTypes(
  node: Node,
  types: ReadonlyMap<string, DataType>,
): readonly (DataType | undefined)[] {
  const inputType = (index: number): DataType | undefined => types.get(node.input(index));
  const rule = factOf(node)?.outputTypes;
  if (rule !== undefined) return rule(node, inputType);
  // Nothing is known of other operator sets, so only what the file declares counts there.
  return node.outputs.map(() => (node.domain === "" ? inputType(0) : undefined));
}
