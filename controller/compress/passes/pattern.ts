/**
 * Finding an operator that an exporter wrote out in simpler ones, and putting it back as one node.
 *
 * Exporters differ in the order of factors and in where they put constants, so products are compared
 * as what they multiply (`productOf`) and not by the shape of their tree.
 *
 * Invariants: nothing is replaced whose intermediate values something else reads; constants count when
 * they are float32, have one element and add no dims; they may be off by a few float32 roundings.
 */

import type { NodeInput } from "../../onnx/build.ts";
import type { Graph } from "../../onnx/graph.ts";
import type { Model } from "../../onnx/model.ts";
import type { Node } from "../../onnx/node.ts";
import { tensorScalar } from "../../onnx/tensor.ts";
import { tryRaiseOpset } from "../opset/raise-opset.ts";
import type { PassContext, PassResult } from "../pass.ts";

/** What replaces the nodes of a match; its output is that of the last of them. */
export interface Match {
  readonly nodes: ReadonlySet<Node>;
  readonly replacement: Omit<NodeInput, "outputs">;
}

/** Looks at `last` and the nodes in front of it. */
type MatchEnding = (graph: Graph, last: Node) => Match | undefined;

interface Recognition {
  /** Operator set that the replacement needs. */
  readonly opset: number;
  readonly match: MatchEnding;
}

/**
 * Replaces every match. The operator set is raised only when there is one; a model whose operator set
 * cannot be raised is left as it is, with the reason in the report.
 */
export async function recognize(
  { workbench }: PassContext,
  model: Model,
  { opset, match }: Recognition,
): Promise<PassResult> {
  const { graph } = model;
  const found = graph.nodes.filter((node) => match(graph, node) !== undefined).length;
  if (found === 0) return { modified: false, report: { recognized: 0 } };
  const refusal = await tryRaiseOpset(model, opset, workbench);
  if (refusal !== undefined) {
    return { modified: false, report: { recognized: 0, left: found, reason: refusal } };
  }
  let recognized = 0;
  for (const last of graph.sortedNodes().reverse()) {
    const matched = graph.hasNode(last) ? match(graph, last) : undefined;
    if (matched === undefined || !isPrivate(graph, matched.nodes, last)) continue;
    for (const node of matched.nodes) {
      graph.removeNode(node);
      if (node !== last) for (const name of node.outputs) graph.setInfo(name, undefined);
    }
    const name = last.name === "" ? {} : { name: last.name };
    graph.addNode({ ...name, ...matched.replacement, outputs: [last.output(0)] });
    recognized++;
  }
  return { modified: true, report: { recognized } };
}

/** True when no node outside of `nodes` reads what they make, but what `last` makes. */
function isPrivate(graph: Graph, nodes: ReadonlySet<Node>, last: Node): boolean {
  return [...nodes].every(
    (node) =>
      node === last ||
      node.outputs.every(
        (name) =>
          !graph.isOutput(name) && graph.consumersOf(name).every((reader) => nodes.has(reader)),
      ),
  );
}

/** Constants of exporters are rounded, some of them twice. */
const relativeTolerance = 1e-5;

export function isNear(value: number | undefined, wanted: number): boolean {
  return value !== undefined && Math.abs(value - wanted) <= relativeTolerance * Math.abs(wanted);
}

/** A constant of one element that adds no dims to what it is combined with. */
export function scalarOf(graph: Graph, name: string): number | undefined {
  const tensor = graph.constant(name);
  if (tensor === undefined || graph.declaredType(name) !== "float32") return undefined;
  return tensor.dims.length <= 1 ? tensorScalar(tensor) : undefined;
}

/** The operand of a node of two whose other one is the given scalar. */
export function besideScalar(graph: Graph, node: Node, wanted: number): string | undefined {
  for (const [value, constant] of [
    [node.input(0), node.input(1)],
    [node.input(1), node.input(0)],
  ] as const) {
    if (isNear(scalarOf(graph, constant), wanted)) return value;
  }
  return undefined;
}

interface Product {
  /** Values that are multiplied, as often as they are. */
  readonly factors: readonly string[];
  /** What the scalar constants among them make. */
  readonly scale: number;
  readonly nodes: readonly Node[];
}

/** A tree of Mul, Div by a scalar and Pow by 2 or 3 is no deeper in any operator that is looked for. */
const productDepthMax = 6;

/**
 * What a value is the product of: the value itself when no multiplication makes it. Multiplications in
 * front belong to it when nothing else reads them.
 */
export function productOf(graph: Graph, name: string, depth = 0): Product {
  const scale = scalarOf(graph, name);
  if (scale !== undefined) return { factors: [], scale, nodes: [] };
  const node = graph.producerOf(name);
  const isOwn = depth === 0 || graph.onlyConsumerOf(name) !== undefined;
  const parts = node && isOwn && depth < productDepthMax ? partsOf(graph, node, depth) : undefined;
  if (node === undefined || parts === undefined) return { factors: [name], scale: 1, nodes: [] };
  return {
    factors: parts.flatMap(({ factors }) => factors),
    scale: parts.reduce((product, part) => product * part.scale, 1),
    nodes: [node, ...new Set(parts.flatMap(({ nodes }) => nodes))],
  };
}

function partsOf(graph: Graph, node: Node, depth: number): readonly Product[] | undefined {
  const [left, right] = [node.input(0), node.input(1)];
  if (node.is("Mul")) return [left, right].map((name) => productOf(graph, name, depth + 1));
  const scalar = scalarOf(graph, right);
  if (scalar === undefined) return undefined;
  if (node.is("Div") && scalar !== 0) {
    return [productOf(graph, left, depth + 1), { factors: [], scale: 1 / scalar, nodes: [] }];
  }
  if (!node.is("Pow") || (scalar !== 2 && scalar !== 3)) return undefined;
  const base = productOf(graph, left, depth + 1);
  return new Array<Product>(scalar).fill(base);
}
