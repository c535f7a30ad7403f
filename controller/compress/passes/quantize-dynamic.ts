/**
 * Dynamic int8 for matrix products: the activation's scale is computed at run time from each batch,
 * so no calibration is needed. Convolutions are left alone, since their dynamic form is up to ten
 * times slower than float.
 *
 * MatMul(A, B) and Gemm(A, B, C), A float32 [M, K], B constant float32 [K, N]:
 *   Aq, a_scale, a_zero = DynamicQuantizeLinear(A)          uint8
 *   Y = Cast(MatMulInteger(Aq, Bq, a_zero)) · (a_scale · b_scale) [+ C]
 * Bq int8 [K, N] symmetric, so its zero points are 0, which is what absent ones mean (ONNX opset 10
 * MatMulInteger); b_scale [N] or a scalar. onnxruntime fuses the five nodes into one.
 */
import { z } from "zod";
import { dataTypes } from "../../onnx/data-type.ts";
import { elementTypes } from "../../onnx/element-types.ts";
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import type { ChannelLayout } from "../../onnx/ops/op-fact.ts";
import { factOf } from "../../onnx/ops/registry.ts";
import {
  floatTensor,
  makeTensor,
  tensorElements,
  tensorFloats,
  tensorShape,
} from "../../onnx/tensor.ts";
import { definePass } from "../pass.ts";
import { channelMagnitudes, quantizeWeights, weightCodes, weightScale } from "../quantize/scale.ts";

/** DynamicQuantizeLinear exists since 11. */
const opsetMin = 11;

const options = z.strictObject({
  perChannel: z.boolean().default(true),
  /** Weights of 7 bits, for x86 processors without VNNI, whose 16-bit sums would saturate. */
  reduceRange: z.boolean().default(false),
  exclude: z.array(z.string()).default([]),
  /** Share of all float weights, 0 to 1, that matrix products must hold for the pass to be worth it. */
  weightShareMin: z.number().min(0).max(1).default(0),
});

type Options = z.output<typeof options>;

export const quantizeDynamic = definePass({
  name: "quantize-dynamic",
  summary: "Dynamic int8 for MatMul and Gemm, without calibration.",
  options,
  tolerance: { kind: "signal", decibelMin: 20 },
  notApplicable(model, { exclude, weightShareMin }) {
    if (model.graph.nodes.some((node) => node.opType === "DynamicQuantizeLinear")) {
      return "the model is quantized already";
    }
    const chosen = candidates(model.graph, exclude);
    if (chosen.length === 0) return "no MatMul or Gemm has a constant float32 weight of two dims";
    const share = weightShare(model.graph, chosen);
    if (share >= weightShareMin) return undefined;
    return `MatMul and Gemm hold ${percent(share)} of the weights, ${percent(weightShareMin)} are asked for`;
  },
  requires(model) {
    if (model.opset >= opsetMin) return undefined;
    return `operator set ${opsetMin} is needed, the model has ${model.opset}: run convert-opset before`;
  },
  run(_context, model, pass) {
    const { graph } = model;
    const chosen = candidates(graph, pass.exclude);
    const inputs = new Map<string, QuantizedInput>();
    for (const candidate of chosen) rewrite(graph, candidate, inputs, pass);
    for (const { node } of chosen) {
      for (const name of node.inputs) {
        if (graph.consumersOf(name).length === 0 && !graph.isOutput(name)) {
          graph.removeInitializer(name);
        }
      }
    }
    return { modified: true, report: { quantized: chosen.length, inputs: inputs.size } };
  },
});

interface Candidate {
  readonly node: Node;
  readonly layout: ChannelLayout;
}

interface QuantizedWeight {
  readonly codes: string;
  readonly scale: string;
}

interface QuantizedInput extends QuantizedWeight {
  readonly zeroPoint: string;
}

/** Matrix products with a constant weight; convolutions have more than two weight dims. */
function candidates(graph: Graph, exclude: readonly string[]): Candidate[] {
  const types = elementTypes(graph);
  return graph.sortedNodes().flatMap((node) => {
    const fact = factOf(node);
    if (fact?.weight?.channelsLast !== true || fact.quantization?.kind !== "linear") return [];
    const name = node.input(fact.weight.input);
    const weight = graph.constant(name);
    if (weight?.dims.length !== 2 || types.get(name) !== "float32") return [];
    if (types.get(node.input(0)) !== "float32" || exclude.includes(node.name)) return [];
    if (fact.quantization.refusal?.(node, graph) !== undefined) return [];
    const layout = fact.weight.layout(node, tensorShape(weight));
    return layout === undefined ? [] : [{ node, layout }];
  });
}

/** Share of the float32 constants' elements that the chosen nodes multiply by. */
function weightShare(graph: Graph, chosen: readonly Candidate[]): number {
  const weights = new Set(chosen.map(({ node }) => node.input(factOf(node)!.weight!.input)));
  let chosenElements = 0;
  let allElements = 0;
  for (const [name, tensor] of graph.initializers) {
    if (tensor.dataType !== dataTypes.float32.code) continue;
    const elements = tensorElements(tensor);
    allElements += elements;
    if (weights.has(name)) chosenElements += elements;
  }
  return chosenElements / allElements;
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

function rewrite(
  graph: Graph,
  { node, layout }: Candidate,
  inputs: Map<string, QuantizedInput>,
  pass: Options,
): void {
  const fact = factOf(node)!.weight!;
  const weightName = node.input(fact.input);
  const input = inputs.get(node.input(0)) ?? quantizeInput(graph, node.input(0));
  inputs.set(node.input(0), input);
  const weight = quantizeWeight(graph, weightName, layout, pass);
  const output = node.output(0);
  const bias = fact.bias === undefined ? "" : node.input(fact.bias);
  graph.removeNode(node);
  const add = (opType: string, reads: readonly string[], part: string): string => {
    const name = part === "" ? output : graph.uniqueName(`${output}_${part}`);
    graph.addNode({ opType, inputs: reads, outputs: [name] });
    return name;
  };
  const sums = add("MatMulInteger", [input.codes, weight.codes, input.zeroPoint], "sums");
  const floats = graph.uniqueName(`${output}_floats`);
  graph.addNode({
    opType: "Cast",
    inputs: [sums],
    outputs: [floats],
    attributes: { to: { int: dataTypes.float32.code } },
  });
  const scale = add("Mul", [input.scale, weight.scale], "scale");
  const product = add("Mul", [floats, scale], bias === "" ? "" : "product");
  if (bias !== "") add("Add", [product, bias], "");
}

function quantizeInput(graph: Graph, name: string): QuantizedInput {
  const [codes, scale, zeroPoint] = ["q", "s", "z"].map((part) =>
    graph.uniqueName(`${name}_${part}`),
  ) as [string, string, string];
  graph.addNode({
    opType: "DynamicQuantizeLinear",
    inputs: [name],
    outputs: [codes, scale, zeroPoint],
  });
  return { codes, scale, zeroPoint };
}

/** The weight as int8 [K, N], whichever way round it was stored. */
function quantizeWeight(
  graph: Graph,
  name: string,
  layout: ChannelLayout,
  pass: Options,
): QuantizedWeight {
  const tensor = graph.constant(name)!;
  const values = tensorFloats(tensor);
  const codeRange = weightCodes(pass.reduceRange);
  const scales = channelMagnitudes(values, layout, pass.perChannel).map((magnitude) =>
    weightScale(magnitude, codeRange),
  );
  const quantized = quantizeWeights(values, layout, scales, codeRange);
  // With the channels first (transB) one row is one channel.
  const [rows, columns] = [layout.outer * layout.inner, layout.channels];
  const data = layout.axis === 0 ? transposed(quantized, columns, rows) : quantized;
  const dims = pass.perChannel ? [columns] : [];
  const add = (part: string): string => graph.uniqueName(`${name}_${part}`);
  const codes = add("q");
  graph.setInitializer(makeTensor({ name: codes, type: "int8", shape: [rows, columns], data }));
  const scale = graph.setInitializer(floatTensor(add("s"), dims, scales));
  return { codes, scale };
}

/** A row-major [rows, columns] matrix as [columns, rows]. */
function transposed(values: Int8Array, rows: number, columns: number): Int8Array {
  const result = new Int8Array(values.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      result[column * rows + row] = values[row * columns + column]!;
    }
  }
  return result;
}
