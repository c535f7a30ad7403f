/**
 * Finds layer normalisation written out in simpler operators and writes it as one node, which the
 * runtime computes in one go and quantization leaves whole.
 *
 * d = x − mean(x); y = d / √(mean(d²) + epsilon) · gamma + beta, means over the last axis.
 * 1. The division as Div, or as Mul by Reciprocal; the square as Pow by 2 or as Mul.
 * 2. Without beta.
 *
 * x and y: float32 […, D]; gamma and beta: float32 [D], constant. Without gamma it stays, since the
 * operator needs one and D need not be known.
 * Source: Ba, Kiros and Hinton, arXiv 1607.06450; ONNX opset 17 LayerNormalization.
 */
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import { namedAxes } from "../../onnx/ops/shape.ts";
import { inferRanks } from "../infer-shapes.ts";
import { definePass, noOptions, reorderTolerance } from "../pass.ts";
import { type Match, productOf, recognize, scalarOf } from "./pattern.ts";

/** LayerNormalization exists since. */
const opset = 17;

type Ranks = ReadonlyMap<string, number>;

export const recognizeLayerNorm = definePass({
  name: "recognize-layer-norm",
  summary: "Writes layer normalisation that was spelled out as one operator.",
  options: noOptions,
  tolerance: reorderTolerance,
  async run(context, model) {
    const means = model.graph.nodes.filter((node) => node.is("ReduceMean"));
    const ranks = await inferRanks(
      model,
      context.workbench,
      means.map((node) => node.input(0)),
    );
    return recognize(context, model, {
      opset,
      match: (graph, last) => matchAffine(graph, last, ranks),
    });
  },
});

/** From the last node back: [Add of beta], Mul by gamma, the normalised value. */
function matchAffine(graph: Graph, last: Node, ranks: Ranks): Match | undefined {
  const shift = last.is("Add") ? besideVector(graph, last) : undefined;
  const scaling = shift === undefined ? last : graph.producerOf(shift.value);
  const scale = scaling?.is("Mul") ? besideVector(graph, scaling) : undefined;
  if (scaling === undefined || scale === undefined) return undefined;
  if (shift !== undefined && shift.length !== scale.length) return undefined;
  // A scaling that alone leads into an Add of beta belongs to that.
  const next = graph.onlyConsumerOf(last.output(0));
  if (shift === undefined && next?.is("Add") && besideVector(graph, next) !== undefined) {
    return undefined;
  }
  const normalised = matchNormalised(graph, scale.value, ranks);
  if (normalised === undefined) return undefined;
  const { x, epsilon, nodes } = normalised;
  return {
    nodes: new Set([last, scaling, ...nodes]),
    replacement: {
      opType: "LayerNormalization",
      inputs: [x, scale.vector, ...(shift === undefined ? [] : [shift.vector])],
      attributes: { axis: { int: -1 }, epsilon: { float: epsilon } },
    },
  };
}

interface Normalised {
  readonly x: string;
  readonly epsilon: number;
  readonly nodes: readonly Node[];
}

/** d / √(mean(d²) + epsilon). */
function matchNormalised(graph: Graph, name: string, ranks: Ranks): Normalised | undefined {
  const division = graph.producerOf(name);
  const parts = division === undefined ? undefined : matchDivision(graph, division);
  if (division === undefined || parts === undefined) return undefined;
  const centred = matchCentred(graph, parts.dividend, ranks);
  const root = graph.producerOf(parts.divisor);
  const sum = root?.is("Sqrt") ? graph.producerOf(root.input(0)) : undefined;
  if (centred === undefined || root === undefined || !sum?.is("Add")) return undefined;
  for (const [value, constant] of [sum.inputs, sum.inputs.toReversed()] as [string, string][]) {
    const epsilon = scalarOf(graph, constant);
    const variance = epsilon === undefined ? undefined : matchLastMean(graph, value, ranks);
    if (epsilon === undefined || variance === undefined) continue;
    const square = productOf(graph, variance.input(0));
    const bases = new Set(square.factors);
    const [base] = bases;
    if (square.factors.length !== 2 || bases.size !== 1 || square.scale !== 1) continue;
    // Some exporters subtract the mean twice.
    const again = base === parts.dividend ? centred : matchCentred(graph, base!, ranks);
    if (again?.x !== centred.x) continue;
    const nodes = [division, ...parts.nodes, ...centred.nodes, root, sum, variance];
    return { x: centred.x, epsilon, nodes: [...nodes, ...square.nodes, ...again.nodes] };
  }
  return undefined;
}

function matchDivision(
  graph: Graph,
  node: Node,
): { dividend: string; divisor: string; nodes: readonly Node[] } | undefined {
  if (node.is("Div")) return { dividend: node.input(0), divisor: node.input(1), nodes: [] };
  if (!node.is("Mul")) return undefined;
  for (const [value, factor] of [node.inputs, node.inputs.toReversed()] as [string, string][]) {
    const inverse = graph.producerOf(factor);
    if (!inverse?.is("Reciprocal")) continue;
    return { dividend: value, divisor: inverse.input(0), nodes: [inverse] };
  }
  return undefined;
}

/** x − mean(x). */
function matchCentred(
  graph: Graph,
  name: string,
  ranks: Ranks,
): { x: string; nodes: readonly Node[] } | undefined {
  const node = graph.producerOf(name);
  const mean = node?.is("Sub") ? matchLastMean(graph, node.input(1), ranks) : undefined;
  if (node === undefined || mean?.input(0) !== node.input(0)) return undefined;
  return { x: node.input(0), nodes: [node, mean] };
}

/** The ReduceMean over the last axis, which keeps it, that makes a value. */
function matchLastMean(graph: Graph, name: string, ranks: Ranks): Node | undefined {
  const node = graph.producerOf(name);
  if (!node?.is("ReduceMean") || node.int("keepdims", 1) !== 1) return undefined;
  const axes = namedAxes(node, graph);
  const rank = ranks.get(node.input(0));
  const isLast = axes?.length === 1 && (axes[0] === -1 || axes[0] === (rank ?? 0) - 1);
  return isLast ? node : undefined;
}

/** The operand beside a constant vector, which has more than one element: one would not say D. */
function besideVector(
  graph: Graph,
  node: Node,
): { value: string; vector: string; length: number } | undefined {
  for (const [value, vector] of [node.inputs, node.inputs.toReversed()] as [string, string][]) {
    const tensor = graph.constant(vector);
    const length = Number(tensor?.dims[0] ?? 0n);
    if (tensor?.dims.length === 1 && length > 1 && graph.declaredType(vector) === "float32") {
      return { value, vector, length };
    }
  }
  return undefined;
}
