/**
 * Where a factor per channel may travel in a graph. Dividing channel c of a value by s_c changes nothing
 * when whoever makes the value divides, whoever reads it multiplies, and everything in between hands
 * factors on. This finds all values that can be scaled so, in one sweep in topological order.
 *
 * Each channel of a scalable value has a variable. Variables that must have the same factor are joined
 * (both sides of a residual Add), those that must keep 1 are pinned (a graph output, an operator that
 * nothing is known of). A branch is therefore no obstacle: every reader of a value takes part.
 *
 * Cases, x the value [.., C, ..] float32, s its factors:
 * 1. W·x + b, W and b constant: columns of W times s of the input, rows and b divided by s of the
 *    output. For a depthwise convolution both meet in one element.
 * 2. LayerNormalization, output: its scale and bias are divided.
 * 3. Relu, pooling, Resize and others with f(x/s) = f(x)/s: handed on. Flatten and Transpose move the
 *    axis; Concat along the channels strings variables together.
 * 4. x + y: joined. x + constant: the constant is divided. x · y, y without factors: handed on.
 * 5. x · g(x), when asked for: g reads x·s, which one Mul makes; the product has x's factors. HardSwish
 *    is taken apart for it.
 *
 * Source: Nagel et al., Data-Free Quantization, ICCV 2019, eq. 7 to 9 (case 1 and 3); case 5 as in
 * I-LLM (2024) for transformers.
 *
 * Invariant: the graph is only read. With any positive factors (1 where pinned) the edits that this
 * lists leave every unscaled value as it was, up to rounding.
 */
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import { valueRanks } from "../../onnx/ranks.ts";
import { DisjointSets } from "./disjoint-sets.ts";
import { sweepNode } from "./flow-rules.ts";
import type { ScaleSweep } from "./scale-sweep.ts";
import type { ConstantEdit, GateEdit, LinearEdit, ScaledValue } from "./scaled-value.ts";

export interface ScaleFlow {
  readonly values: ReadonlyMap<string, ScaledValue>;
  readonly linears: readonly LinearEdit[];
  readonly constants: readonly ConstantEdit[];
  readonly gates: readonly GateEdit[];
  /** Nodes that make a value from a scale of their own: LayerNormalization, or Mul by one per channel. */
  readonly normalisations: ReadonlySet<Node>;
  /** Variables are 0 … variableCount − 1. */
  readonly variableCount: number;
  /** The variable that stands for all which are joined with this one. */
  readonly rootOf: (variable: number) => number;
  /** Whether a variable's factor must be 1. */
  readonly isPinned: (variable: number) => boolean;
}

export interface ScaleFlowOptions {
  /** Let factors pass x · g(x), at the cost of one Mul each. */
  readonly throughGates: boolean;
}

/** Finds the scalable values of a graph. */
export function scaleFlow(graph: Graph, { throughGates }: ScaleFlowOptions): ScaleFlow {
  const sets = new DisjointSets();
  const pinned = new Set<number>();
  const values = new Map<string, ScaledValue>();
  const linears: LinearEdit[] = [];
  const constants: ConstantEdit[] = [];
  const gates: GateEdit[] = [];
  const normalisations = new Set<Node>();
  const sweep: ScaleSweep = {
    graph,
    ranks: valueRanks(graph),
    throughGates,
    valueOf: (name) => values.get(name),
    set: (name, value) => void values.set(name, value),
    fresh: (channels, axisFromEnd) => ({
      variables: Int32Array.from({ length: channels }, () => sets.add()),
      axisFromEnd,
      spread: "none",
    }),
    join(left, right) {
      left.variables.forEach((variable, at) => {
        sets.join(variable, right.variables[at]!);
      });
    },
    pin: (value) => {
      for (const variable of value?.variables ?? []) pinned.add(variable);
    },
    linear: (edit) => void linears.push(edit),
    constant: (edit) => void constants.push(edit),
    gate: (edit) => void gates.push(edit),
    normalisation: (node) => void normalisations.add(node),
  };
  for (const node of graph.sortedNodes()) sweepNode(sweep, node);
  for (const name of graph.outputNames) sweep.pin(values.get(name));
  const pinnedRoots = new Set([...pinned].map((variable) => sets.find(variable)));
  return {
    values,
    linears,
    constants,
    gates,
    normalisations,
    variableCount: sets.size,
    rootOf: (variable) => sets.find(variable),
    isPinned: (variable) => pinnedRoots.has(sets.find(variable)),
  };
}
