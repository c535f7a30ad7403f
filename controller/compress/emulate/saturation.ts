/**
 * Foretells where x86 without VNNI loses products of an int8 model: VPMADDUBSW adds pairs of them to 16
 * bits, and a pair whose weights are large enough may pass that. Nothing has to be run.
 *
 * Invariant: a model without a pair at risk gives the same codes on every x86 processor, whatever it is
 * fed; one with a pair at risk can be fed so that it does not.
 */
import { elementTypes } from "../../onnx/element-types.ts";
import type { Model } from "../../onnx/model.ts";
import type { Node } from "../../onnx/node.ts";
import { nodeLabel } from "../quantize/selection.ts";
import { activationCodeMax, canSaturate } from "./pairs.ts";
import type { PackedWeights } from "./products.ts";
import type { StepContext } from "./step.ts";
import { convProducts } from "./steps/conv.ts";
import { matrixProducts } from "./steps/matrix.ts";
import type { Unit } from "./unit.ts";
import { unitOf } from "./units.ts";

export interface LayerRisk {
  /** Name of the node, or of its output where it has none. */
  readonly layer: string;
  readonly channels: number;
  /** Output channels with at least one pair at risk. */
  readonly channelsAtRisk: number;
  /** Pairs of neighbouring weights, all channels together. */
  readonly pairs: number;
  readonly pairsAtRisk: number;
}

/** Largest unsigned code that a value takes, by the name of the codes; 255 where it is not known. */
export type CodesMax = ReadonlyMap<string, number>;

/** The risk of each layer that multiplies uint8 by int8, in topological order. */
export function saturationRisks(model: Model, codesMax: CodesMax = new Map()): LayerRisk[] {
  const { graph } = model;
  const types = elementTypes(graph);
  const context: StepContext = { graph, processor: "avx2" };
  return graph.sortedNodes().flatMap((node) => {
    const unit = unitOf(graph, types, node, context.processor);
    const matrices =
      unit === undefined ? dynamicProducts(context, node) : productsOf(context, unit);
    if (matrices.length === 0) return [];
    const codes = unit?.operands[0]?.name ?? node.input(0);
    return [riskOf(nodeLabel(node), matrices, codesMax.get(codes) ?? activationCodeMax)];
  });
}

function dynamicProducts(context: StepContext, node: Node): readonly PackedWeights[] {
  return node.is("MatMulInteger") ? matrixProducts(context, node.input(1), false) : [];
}

function productsOf(context: StepContext, unit: Unit): readonly PackedWeights[] {
  const [data, weight] = unit.operands;
  // Signed codes that are not shifted meet a kernel that widens both sides.
  if (weight?.type !== "int8" || (data?.type === "int8" && !unit.isShifted)) return [];
  if (unit.operator === "Conv") return convProducts(context, unit);
  return matrixProducts(context, weight.name, unit.node.int("transB", 0) === 1);
}

function riskOf(layer: string, matrices: readonly PackedWeights[], codeMax: number): LayerRisk {
  let channels = 0;
  let channelsAtRisk = 0;
  let pairs = 0;
  let pairsAtRisk = 0;
  for (const { columns, depth, codes, risks, riskStarts } of matrices) {
    channels += columns;
    pairs += columns * Math.ceil(depth / 2);
    for (let column = 0; column < columns; column++) {
      const start = column * depth;
      const inColumn = risks
        .subarray(riskStarts[column], riskStarts[column + 1])
        .filter((k) => canSaturate(codes[start + k]!, codes[start + k + 1]!, codeMax)).length;
      if (inColumn > 0) channelsAtRisk++;
      pairsAtRisk += inColumn;
    }
  }
  return { layer, channels, channelsAtRisk, pairs, pairsAtRisk };
}
