/**
 * Infers how many dims each value has: declared shapes first, then forward through the nodes by what
 * each operator says of itself. Lengths are not inferred: real exports leave them dynamic.
 */
import type { Graph } from "./graph.ts";
import { factOf } from "./ops/registry.ts";

/** Ranks by value name; values whose rank cannot be told are missing. */
export function valueRanks(graph: Graph): Map<string, number> {
  const ranks = new Map<string, number>();
  const set = (name: string, rank: number | undefined): void => {
    if (name !== "" && rank !== undefined) ranks.set(name, rank);
  };
  for (const name of [...graph.inputNames, ...graph.initializers.keys()]) {
    set(name, graph.declaredShape(name)?.length);
  }
  for (const node of graph.sortedNodes()) {
    const rule = factOf(node)?.outputRank;
    const inferred = rule?.(node, graph, (index) => ranks.get(node.input(index)));
    node.outputs.forEach((name, index) => {
      set(name, graph.declaredShape(name)?.length ?? (index === 0 ? inferred : undefined));
    });
  }
  return ranks;
}
