/**
 * Static int8 in QDQ form: uint8 activations (U8), int8 symmetric weights (S8), int32 bias.
 *
 * 1. Conv, Gemm, MatMul with constant weights: activation in and out through QuantizeLinear and
 *    DequantizeLinear, weight [as its operator lays it out] int8 with one scale per output channel
 *    or one for all, bias int32 with scale = input scale · weight scale.
 * 2. Add, Mul, Concat, pooling, Sigmoid and others between them: 8-bit in and out.
 * 3. Reshape, Transpose, MaxPool and others that only move values: the output takes the input's scale.
 * 4. Relu and Clip(0, …) behind them: no pair in between, the scale is that of what comes out.
 *
 * Inputs and outputs of the graph stay float32. Which nodes are taken is told in `selection.ts`, how
 * scales are computed in `scale.ts`.
 */
import { z } from "zod";
import type { Graph } from "../../onnx/graph.ts";
import type { Model } from "../../onnx/model.ts";
import type { ChannelLayout } from "../../onnx/ops/op-fact.ts";
import { factOf } from "../../onnx/ops/registry.ts";
import type { TensorProto } from "../../onnx/schema.ts";
import { tensorElements, tensorFloats, tensorShape } from "../../onnx/tensor.ts";
import { calibrationOptions } from "../calibration/method.ts";
import { definePass, type PassContext, type PassResult } from "../pass.ts";
import { valueParameters, valuesToObserve } from "../quantize/parameters.ts";
import { QdqWriter } from "../quantize/qdq-writer.ts";
import {
  activationParameters,
  channelMagnitudes,
  type QuantizationParameters,
  quantizeActivations,
  quantizeBias,
  quantizeWeights,
  weightCodes,
  weightScale,
  weightScaleForBias,
} from "../quantize/scale.ts";
import { type SelectedNode, type Selection, selectNodes } from "../quantize/selection.ts";

/** DequantizeLinear takes one scale per channel since 13 (ONNX opset 13 DequantizeLinear). */
const opsetMin = 13;

const options = z.strictObject({
  /** One weight scale per output channel instead of one per weight. */
  perChannel: z.boolean().default(true),
  /** Weights of 7 bits, for x86 processors without VNNI, whose 16-bit sums would saturate. */
  reduceRange: z.boolean().default(false),
  /** Names of nodes that stay float. */
  exclude: z.array(z.string()).default([]),
  calibration: calibrationOptions.prefault({ method: "min-max" }),
});

type Options = z.output<typeof options>;

export const quantizeStatic = definePass({
  name: "quantize-static",
  summary: "Static int8 (U8S8) with calibrated activation ranges.",
  options,
  // Eight bits hold 48 dB of a full-range uniform signal; nets of a few layers keep 25 and more.
  tolerance: { kind: "signal", decibelMin: 20 },
  notApplicable(model, { exclude }) {
    if (isQuantized(model.graph)) return "the model is quantized already";
    const { nodes } = selectNodes(model.graph, { exclude });
    return nodes.length > 0 ? undefined : "no Conv, Gemm or MatMul has constant float32 weights";
  },
  requires(model) {
    if (model.opset >= opsetMin) return undefined;
    return `operator set ${opsetMin} is needed, the model has ${model.opset}: run convert-opset before`;
  },
  calibration(model, { exclude, calibration }) {
    const selection = selectNodes(model.graph, { exclude });
    return { tensors: valuesToObserve(selection), options: calibration };
  },
  run: quantize,
  ensures: (model) => floatReader(model.graph),
});

function quantize(context: PassContext, model: Model, pass: Options): PassResult {
  const { graph } = model;
  const selection = selectNodes(graph, pass);
  const parameters = valueParameters(selection, context.ranges);
  const writer = new QdqWriter(graph);
  let raisedScales = 0;
  for (const selected of selection.nodes) {
    if (selected.role.kind === "linear") {
      raisedScales += quantizeConstants(graph, writer, selected, parameters, pass);
    } else if (selected.role.kind === "computed") quantizeOperands(graph, writer, selected);
  }
  for (const name of selection.values) writer.quantizeValue(name, parameters.get(name)!);
  dropUnused(graph);
  return { modified: true, report: { ...summary(selection), raisedScales } };
}

/** Weight and bias of a linear node; returns how many weight scales the bias made larger. */
function quantizeConstants(
  graph: Graph,
  writer: QdqWriter,
  { node }: SelectedNode,
  parameters: ReadonlyMap<string, QuantizationParameters>,
  pass: Options,
): number {
  const fact = factOf(node)!.weight!;
  const weight = graph.constant(node.input(fact.input))!;
  const values = tensorFloats(weight);
  const layout = fact.layout(node, tensorShape(weight));
  const perChannel = pass.perChannel && layout !== undefined;
  const whole: ChannelLayout = { groups: 1, outer: 1, channels: 1, inner: values.length, axis: 0 };
  const used = perChannel ? layout : whole;
  const codes = weightCodes(pass.reduceRange);
  const inputScale = parameters.get(node.input(0))!.scale;
  const bias = biasOf(graph, node.input(fact.bias ?? -1));
  const magnitudes = channelMagnitudes(values, used, perChannel);
  const scales = magnitudes.map((magnitude) => weightScale(magnitude, codes));
  const raised = bias === undefined ? 0 : makeRoomForBias(scales, bias, inputScale, magnitudes);
  graph.setInput(
    node,
    fact.input,
    writer.dequantizedConstant({
      hint: node.input(fact.input),
      type: "int8",
      shape: tensorShape(weight),
      codes: quantizeWeights(values, used, scales, codes),
      scales,
      zeroPoint: 0,
      axis: used.axis,
    }),
  );
  if (bias === undefined) return raised;
  const biasScales = scales.map((scale) => scale * inputScale);
  graph.setInput(
    node,
    fact.bias!,
    writer.dequantizedConstant({
      hint: node.input(fact.bias!),
      type: "int32",
      shape: [bias.length],
      codes: quantizeBias(bias, biasScales),
      scales: biasScales,
      zeroPoint: 0,
      axis: 0,
    }),
  );
  return raised;
}

/**
 * Raises weight scales whose bias would not fit into int32. A channel whose weights are all zero has
 * no scale of its own: it gets one with which its bias keeps 24 bits.
 */
function makeRoomForBias(
  scales: Float32Array,
  bias: Float32Array,
  inputScale: number,
  magnitudes: Float32Array,
): number {
  let raised = 0;
  bias.forEach((value, channel) => {
    const at = scales.length === 1 ? 0 : channel;
    if (magnitudes[at] === 0 && scales.length > 1) {
      scales[at] = value === 0 ? 1 : Math.abs(value) / 2 ** 24 / inputScale;
      return;
    }
    const needed = weightScaleForBias(value, inputScale);
    if (scales[at]! >= needed) return;
    scales[at] = needed;
    raised++;
  });
  return raised;
}

/** Constant operands of Add, Mul and Concat. */
function quantizeOperands(
  graph: Graph,
  writer: QdqWriter,
  { node, dataInputs }: SelectedNode,
): void {
  for (const index of dataInputs) {
    const tensor = graph.constant(node.input(index));
    if (tensor === undefined) continue;
    const values = tensorFloats(tensor);
    const parameters = activationParameters(rangeOf(values));
    const name = writer.dequantizedConstant({
      hint: node.input(index),
      type: "uint8",
      shape: tensorShape(tensor),
      codes: quantizeActivations(values, parameters),
      scales: Float32Array.of(parameters.scale),
      zeroPoint: parameters.zeroPoint,
      axis: 0,
    });
    graph.setInput(node, index, name);
  }
}

function rangeOf(values: Float32Array): { min: number; max: number } {
  return values.reduce(
    ({ min, max }, value) => ({ min: Math.min(min, value), max: Math.max(max, value) }),
    { min: 0, max: 0 },
  );
}

function biasOf(graph: Graph, name: string): Float32Array | undefined {
  const tensor = name === "" ? undefined : graph.constant(name);
  return tensor === undefined || tensorElements(tensor) === 0 ? undefined : tensorFloats(tensor);
}

/** Weights whose float form nobody reads any more. */
function dropUnused(graph: Graph): void {
  const isUnused = (tensor: TensorProto): boolean =>
    graph.consumersOf(tensor.name ?? "").length === 0 && !graph.isOutput(tensor.name ?? "");
  for (const tensor of [...graph.initializers.values()].filter(isUnused)) {
    graph.removeInitializer(tensor.name ?? "");
  }
}

function isQuantized(graph: Graph): boolean {
  return graph.nodes.some((node) => node.opType === "QuantizeLinear");
}

/** A node that reads the float side of a quantized value: it would keep that value's maker float. */
function floatReader(graph: Graph): string | undefined {
  for (const node of graph.nodes) {
    if (!node.is("QuantizeLinear")) continue;
    const other = graph.consumersOf(node.input(0)).find((reader) => reader !== node);
    if (other !== undefined) return `${other.opType} ${other.name} reads ${node.input(0)} as float`;
  }
  return undefined;
}

function summary(selection: Selection) {
  const count = (kind: string): number =>
    selection.nodes.filter(({ role }) => role.kind === kind).length;
  return {
    linear: count("linear"),
    computed: count("computed"),
    moved: count("moved"),
    absorbed: selection.nodes.filter(({ absorbed }) => absorbed !== undefined).length,
    quantizedValues: selection.values.size,
    refused: selection.refused.map(({ node, reason }) => `${node}: ${reason}`),
  };
}
