/**
 * How much noise on each output of a linear node weighs in the end: the gain of its power on the way to
 * the outputs of the graph, through weights alone. Walking backwards, a channel weighs what the outputs
 * that read it weigh, times the squared weights between them; outputs that no weight reads weigh 1.
 *
 * Activations and gates between are taken as if they passed noise whole, which is right up to a factor
 * that channels share.
 */
import type { Graph } from "../../onnx/graph.ts";
import { tensorFloats, tensorShape } from "../../onnx/tensor.ts";
import { type WeightTable, weightTable } from "./linear-weight.ts";
import type { ScaleFlow } from "./scale-flow.ts";
import { type LinearEdit, spreadOver } from "./scaled-value.ts";

/** A linear node with its weight, and what noise on each of its outputs weighs. */
export interface WeighedLinear {
  readonly table: WeightTable;
  /** [outputs]. */
  readonly importance: Float64Array;
}

/** All linear nodes of a flow. */
export function weighLinears(graph: Graph, flow: ScaleFlow): Map<LinearEdit, WeighedLinear> {
  const weights = new Float64Array(flow.variableCount);
  const weighed = new Map<LinearEdit, WeighedLinear>();
  // Linears are listed in topological order, so all that read an output have been seen.
  for (const edit of flow.linears.toReversed()) {
    const { node, fact, layout, input, output } = edit;
    const weight = graph.constant(node.input(fact.input))!;
    const table = weightTable(node, layout, tensorShape(weight), tensorFloats(weight));
    const importance = new Float64Array(table.outputs).fill(1);
    output?.variables.forEach((variable, channel) => {
      importance[channel] = weights[flow.rootOf(variable)]! || 1;
    });
    weighed.set(edit, { table, importance });
    if (input === undefined) continue;
    const features = spreadOver(input, table.features).map(flow.rootOf);
    addGains(weights, table, importance, features);
  }
  return weighed;
}

/** Σ_o W_oj² · importance_o for each feature j. */
export function gainsOf({ table, importance }: WeighedLinear): Float64Array {
  const gains = new Float64Array(table.features);
  addGains(
    gains,
    table,
    importance,
    Int32Array.from(gains, (_, at) => at),
  );
  return gains;
}

function addGains(
  sums: Float64Array,
  { outputs, perOutput, firstFeature, powers }: WeightTable,
  importance: Float64Array,
  slots: Int32Array,
): void {
  for (let output = 0; output < outputs; output++) {
    const first = firstFeature(output);
    for (let at = 0; at < perOutput; at++) {
      sums[slots[first + at]!]! += powers[output * perOutput + at]! * importance[output]!;
    }
  }
}
