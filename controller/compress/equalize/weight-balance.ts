/**
 * Factors from weights alone, for one scale per weight: r1 is the largest magnitude in the rows that make
 * a channel, r2 in the columns that read it, s = √(r1 / r2) makes both equal.
 *
 * All parts of a graph are balanced in turn until nothing moves, since a depthwise convolution is reader
 * and maker at once. Three weights in a row end at the factors of the depthwise triple,
 * s12 = r1 / c and s23 = c / r3 with c = ∛(r1 r2 r3), and longer rows at the like.
 *
 * Source: Nagel et al., Data-Free Quantization, ICCV 2019, eq. 11 and appendix A.
 */
import type { Graph } from "../../onnx/graph.ts";
import { tensorFloats, tensorShape } from "../../onnx/tensor.ts";
import type { Factors } from "./apply-factors.ts";
import type { Component } from "./components.ts";
import { type WeightTable, weightTable } from "./linear-weight.ts";
import type { ScaleFlow } from "./scale-flow.ts";
import { type LinearEdit, spreadOver } from "./scaled-value.ts";

/** Sweeps over the graph; the distance to the end shrinks by half or more in each. */
const sweepsMax = 100;
/** A change of a factor, as its logarithm, that counts as none. */
const stillness = 1e-4;
/** A first sweep that moves no factor further than this leaves a graph as it is. */
const worthwhile = 1e-2;

/** Factors by variable, 1 where nothing is gained. */
export function balanceWeights(
  graph: Graph,
  flow: ScaleFlow,
  components: readonly Component[],
): Factors {
  const factors = new Float64Array(flow.variableCount).fill(1);
  const sides = components.map((component) => sidesOf(graph, flow, component));
  for (let sweep = 0; sweep < sweepsMax; sweep++) {
    let moved = 0;
    components.forEach((component, at) => {
      moved = Math.max(moved, balance(component, sides[at]!, factors));
    });
    if (sweep === 0 && moved < worthwhile) return factors.fill(1);
    if (moved < stillness) break;
  }
  return factors;
}

/** One side of a part: a weight with the variable on its own side and on the other. */
interface Side {
  readonly table: WeightTable;
  /** The part's index for each output or feature. */
  readonly own: Int32Array;
  /** The variable for each feature or output; undefined when that side has no factors. */
  readonly across: Int32Array | undefined;
}

interface Sides {
  readonly made: readonly Side[];
  readonly read: readonly Side[];
}

function sidesOf(graph: Graph, flow: ScaleFlow, component: Component): Sides {
  const side = (edit: LinearEdit, isMade: boolean): Side => {
    const { node, fact, layout, input, output } = edit;
    const weight = graph.constant(node.input(fact.input))!;
    const table = weightTable(node, layout, tensorShape(weight), tensorFloats(weight));
    const features = input === undefined ? undefined : spreadOver(input, table.features);
    const own = isMade ? output!.variables : features!;
    return {
      table,
      own: component.indicesOf(own),
      across: (isMade ? features : output?.variables)?.map(flow.rootOf),
    };
  };
  return {
    made: component.makers.map((edit) => side(edit, true)),
    read: component.readers.map((edit) => side(edit, false)),
  };
}

/** Balances one part; returns how far its factors moved. */
function balance(component: Component, sides: Sides, factors: Factors): number {
  const { variables, isPinned } = component;
  const made = new Float64Array(variables.length);
  const read = new Float64Array(variables.length);
  for (const side of sides.made) raise(made, side, "made", factors);
  for (const side of sides.read) raise(read, side, "read", factors);
  let moved = 0;
  variables.forEach((variable, index) => {
    // A channel that nobody makes or reads has nothing to balance.
    if (isPinned(index) || !(made[index]! > 0) || !(read[index]! > 0)) return;
    const factor = Math.sqrt(made[index]! / read[index]!);
    moved = Math.max(moved, Math.abs(Math.log(factor / factors[variable]!)));
    factors[variable] = factor;
  });
  return moved;
}

/** Raises each variable's magnitude to the largest element there, scaled by the factors across. */
function raise(
  largest: Float64Array,
  { table, own, across }: Side,
  kind: "made" | "read",
  factors: Factors,
): void {
  const { outputs, perOutput, firstFeature, magnitudes } = table;
  for (let output = 0; output < outputs; output++) {
    const first = firstFeature(output);
    for (let at = 0; at < perOutput; at++) {
      const [here, there] = kind === "made" ? [output, first + at] : [first + at, output];
      const factor = across === undefined ? 1 : factors[across[there]!]!;
      const magnitude = magnitudes[output * perOutput + at]!;
      const scaled = kind === "made" ? magnitude * factor : magnitude / factor;
      if (scaled > largest[own[here]!]!) largest[own[here]!] = scaled;
    }
  }
}
