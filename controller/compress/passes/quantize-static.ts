/**
 * Static int8 in QDQ form: uint8 or int8 activations, int8 or uint8 weights, int32 bias.
 *
 * 1. Conv, Gemm, MatMul with constant weights: activation in and out through QuantizeLinear and
 *    DequantizeLinear, weight [as its operator lays it out] 8-bit with one scale per output channel
 *    or one for all, bias int32 with scale = input scale · weight scale.
 * 2. Add, Mul, Concat, pooling, Sigmoid and others between them: 8-bit in and out.
 * 3. Reshape, Transpose, MaxPool and others that only move values: the output takes the input's scale.
 * 4. Relu and Clip behind them: removed, since the codes of what comes out end where they cut.
 *
 * Inputs and outputs of the graph stay float32. Which nodes are taken is told in `selection.ts`, which
 * integers they get in `layers.ts`, how they are written in `qdq-writer.ts`.
 */
import { z } from "zod";
import type { Graph } from "../../onnx/graph.ts";
import type { Model } from "../../onnx/model.ts";
import type { Node } from "../../onnx/node.ts";
import { factOf } from "../../onnx/ops/registry.ts";
import type { TensorProto } from "../../onnx/schema.ts";
import { tensorFloats, tensorShape } from "../../onnx/tensor.ts";
import { calibrationOptions } from "../calibration/registry.ts";
import { saturationRisks } from "../emulate/saturation.ts";
import { narrowRanges } from "../equalize/narrow-ranges.ts";
import {
  definePass,
  type PassContext,
  type PassResult,
  type Report,
  requiredWorkbench,
} from "../pass.ts";
import { correctBiases } from "../quantize/bias-correction.ts";
import { correctBiasesFast } from "../quantize/fast-bias-correction.ts";
import { type Grams, openGrams } from "../quantize/gram.ts";
import {
  type LayerCodes,
  type LinearLayer,
  planLayers,
  quantizeLayer,
} from "../quantize/layers.ts";
import { valueParameters, valuesToObserve } from "../quantize/parameters.ts";
import { QdqWriter } from "../quantize/qdq-writer.ts";
import { roundingOption } from "../quantize/rounding/registry.ts";
import {
  type ActivationFormat,
  quantizeActivations,
  rangeOf,
  scaleAndZeroPoint,
} from "../quantize/scale.ts";
import {
  activationFormat,
  schemeOptions,
  unsupportedScheme,
  type WeightFormat,
} from "../quantize/scheme.ts";
import {
  nodeLabel,
  type SelectedNode,
  type Selection,
  selectNodes,
} from "../quantize/selection.ts";
import { floatGuards, putMaxBehind } from "../quantize/stay-float.ts";
import { weightScaleOption } from "../quantize/weight-scale/registry.ts";

/** DequantizeLinear takes one scale per channel since 13 (ONNX opset 13 DequantizeLinear). */
const opsetMin = 13;

const options = z
  .strictObject({
    ...schemeOptions,
    /** How weight scales are chosen. */
    weightScale: weightScaleOption.prefault({ strategy: "max" }),
    /** How weights become integers. */
    rounding: roundingOption.prefault({ strategy: "nearest" }),
    /**
     * Takes the mean error out of each channel: layer by layer behind the corrected ones, or with `fast`
     * each layer by itself. Runs the model on samples.
     */
    biasCorrection: z.union([z.boolean(), z.literal("fast")]).default(false),
    /** Products of two activations in int8 too, as in attention; costs accuracy behind Softmax. */
    activationProducts: z.boolean().default(false),
    /** Names of nodes that stay float. */
    exclude: z.array(z.string()).default([]),
    /** What single layers have otherwise, by name of their nodes. */
    layers: z
      .record(
        z.string(),
        z.strictObject({
          perChannel: schemeOptions.perChannel.unwrap().optional(),
          reduceRange: schemeOptions.reduceRange.unwrap().optional(),
          weightScale: weightScaleOption.optional(),
          rounding: roundingOption.optional(),
        }),
      )
      .default({}),
    calibration: calibrationOptions.prefault({ method: "min-max" }),
    /** Ranges at the inputs of SiLU and HardSwish end where the gate lets nothing through. */
    cutGateTails: z.boolean().default(false),
  })
  .superRefine((scheme, context) => {
    const message = unsupportedScheme(scheme);
    if (message !== undefined) context.addIssue({ code: "custom", path: ["weights"], message });
    const { weightScale, rounding } = scheme;
    if (weightScale.strategy !== "pair-aware" || rounding.strategy === "nearest") return;
    const why =
      "pair-aware scales bound sums of codes that are rounded to the nearest: take nearest";
    context.addIssue({ code: "custom", path: ["rounding"], message: why });
  });

type Options = z.output<typeof options>;

/** The options of one layer. */
const optionsOf = (pass: Options, node: Node): Options =>
  ({ ...pass, ...pass.layers[nodeLabel(node)] }) as Options;

export const quantizeStatic = definePass({
  name: "quantize-static",
  summary: "Static int8 (U8S8, S8S8, U8U8) with calibrated activation ranges.",
  options,
  // Eight bits hold 48 dB of a full-range uniform signal; nets of a few layers keep 25 and more.
  tolerance: { kind: "signal", decibelMin: 20 },
  notApplicable(model, pass) {
    if (isQuantized(model.graph)) return "the model is quantized already";
    const { nodes } = selectNodes(model.graph, pass);
    return nodes.length > 0 ? undefined : "no Conv, Gemm or MatMul has constant float32 weights";
  },
  requires(model) {
    if (model.opset >= opsetMin) return undefined;
    return `operator set ${opsetMin} is needed, the model has ${model.opset}: run convert-opset before`;
  },
  calibration(model, pass) {
    const selection = selectNodes(model.graph, pass);
    return { tensors: valuesToObserve(selection), options: pass.calibration };
  },
  run: quantize,
  ensures: (model) => floatReader(model.graph),
});

async function quantize(context: PassContext, model: Model, pass: Options): Promise<PassResult> {
  const { graph } = model;
  const { signal } = context;
  const ranges = pass.cutGateTails
    ? await narrowRanges(context, model, context.ranges)
    : context.ranges;
  const activations = activationFormat(pass);
  const selection = selectNodes(graph, pass);
  const parameters = valueParameters(selection, ranges, activations);
  const layers = planLayers(graph, selection, { parameters, ranges }, (node) =>
    optionsOf(pass, node),
  );
  const guards = floatGuards(graph, selection);
  const unknown = unknownNames(graph, pass);
  const writer = new QdqWriter(graph, activations);
  const float = model.clone();
  const written: WrittenLayer[] = [];
  const outputs = layers.map(({ node }) => node.output(0));
  const grams = await openedGrams(context, float, outputs, pass);
  try {
    for (const layer of layers) {
      signal?.throwIfAborted();
      const evidence = await grams?.of(layer.node.output(0));
      const own = optionsOf(pass, layer.node);
      const codes = await quantizeLayer(layer, own, { evidence, signal });
      written.push(writeLayer(graph, writer, layer, codes));
    }
  } finally {
    await grams?.close();
  }
  for (const selected of selection.nodes) {
    if (selected.role.kind === "computed") writeOperands(graph, writer, selected, activations);
  }
  for (const selected of selection.nodes) removeAbsorbed(graph, selected, selection);
  for (const node of guards.behind) putMaxBehind(graph, node);
  const int8Nodes = new Set(selection.nodes.map(({ node }) => node));
  const readers = { int8: int8Nodes, perChannel: guards.perChannel };
  for (const name of selection.values) writer.quantizeValue(name, parameters.get(name)!, readers);
  dropUnused(graph);
  const raisedScales = written.reduce((sum, layer) => sum + layer.raisedScales, 0);
  const int8 = written.map(({ name }) => name);
  const corrected = await biasesCorrected(context, { float, quantized: model }, written, pass);
  const roundedToNearest = grams === undefined ? {} : { roundedToNearest: grams.leftOut };
  const more = { ...unknown, ...roundedToNearest, ...corrected, ...saturation(model) };
  return { modified: true, report: { ...summary(selection), raisedScales, int8, ...more } };
}

/** Names that the recipe gives and no node has, for the report. */
function unknownNames(graph: Graph, { exclude, layers }: Options): { unknown?: string[] } {
  const known = new Set(graph.nodes.map(nodeLabel));
  const unknown = [...exclude, ...Object.keys(layers)].filter((name) => !known.has(name));
  return unknown.length === 0 ? {} : { unknown };
}

/** What the strategies want to know of the layers' inputs; undefined when they want nothing. */
async function openedGrams(
  context: PassContext,
  model: Model,
  outputs: readonly string[],
  pass: Options,
): Promise<Grams | undefined> {
  const nodes = outputs
    .map((output) => model.graph.producerOf(output)!)
    .filter((node) => {
      const { weightScale, rounding } = optionsOf(pass, node);
      return weightScale.needsGram || rounding.needsGram;
    });
  if (nodes.length === 0) return undefined;
  const workbench = requiredWorkbench(context);
  return openGrams({ model, nodes, workbench, signal: context.signal });
}

async function biasesCorrected(
  context: PassContext,
  models: { readonly float: Model; readonly quantized: Model },
  written: readonly WrittenLayer[],
  { biasCorrection }: Options,
): Promise<Report> {
  if (biasCorrection === false) return {};
  const layers = written.flatMap(({ node, floatOutput, bias }) =>
    bias === undefined ? [] : [{ node, floatOutput, bias }],
  );
  const workbench = requiredWorkbench(context);
  const correct = biasCorrection === "fast" ? correctBiasesFast : correctBiases;
  return correct({ ...models, layers, workbench, signal: context.signal });
}

/** A linear layer as it stands in the quantized graph. */
interface WrittenLayer {
  /** Name of the node, or of its output where it has none. */
  readonly name: string;
  readonly node: Node;
  /** The value that the node made in the float graph; what it makes now may have another name. */
  readonly floatOutput: string;
  /** Name of the int32 initializer and float32 scales per channel; absent without a bias. */
  readonly bias?: { readonly initializer: string; readonly scales: Float32Array };
  readonly raisedScales: number;
}

/** The constants of a linear node, as codes behind DequantizeLinear. */
function writeLayer(
  graph: Graph,
  writer: QdqWriter,
  { node, fact, shape, layout, format }: LinearLayer,
  { scales, weight, bias, raisedScales }: LayerCodes,
): WrittenLayer {
  const constant = writer.dequantizedConstant({
    hint: node.input(fact.input),
    type: format.type,
    shape,
    codes: storedCodes(weight, format),
    scales,
    zeroPoint: format.zeroPoint,
    axis: layout?.axis ?? 0,
  });
  graph.setInput(node, fact.input, constant);
  const floatOutput = node.output(0);
  // The fusion audit finds the node by its name.
  node.setName(nodeLabel(node));
  const layer = { name: nodeLabel(node), node, floatOutput, raisedScales };
  if (bias === undefined) return layer;
  const biasConstant = writer.dequantizedConstant({
    hint: node.input(fact.bias!) || `${floatOutput}_bias`,
    type: "int32",
    shape: [bias.codes.length],
    codes: bias.codes,
    scales: bias.scales,
    zeroPoint: 0,
    axis: 0,
  });
  graph.setInput(node, fact.bias!, biasConstant);
  const initializer = graph.producerOf(biasConstant)!.input(0);
  return { ...layer, bias: { initializer, scales: bias.scales } };
}

/** Centred codes as they are stored. */
function storedCodes(
  weight: Int16Array,
  { type, zeroPoint }: WeightFormat,
): Int8Array | Uint8Array {
  const stored = type === "int8" ? new Int8Array(weight.length) : new Uint8Array(weight.length);
  for (let index = 0; index < weight.length; index++) stored[index] = weight[index]! + zeroPoint;
  return stored;
}

/** Constant operands of Add, Mul and Concat. */
function writeOperands(
  graph: Graph,
  writer: QdqWriter,
  { node, dataInputs }: SelectedNode,
  activations: ActivationFormat,
): void {
  for (const index of dataInputs) {
    const tensor = graph.constant(node.input(index));
    if (tensor === undefined) continue;
    const values = tensorFloats(tensor);
    const parameters = scaleAndZeroPoint(rangeOf(values), activations.codes, activations.symmetric);
    const name = writer.dequantizedConstant({
      hint: node.input(index),
      type: activations.type,
      shape: tensorShape(tensor),
      codes: quantizeActivations(values, parameters, activations),
      scales: Float32Array.of(parameters.scale),
      zeroPoint: parameters.zeroPoint,
      axis: 0,
    });
    graph.setInput(node, index, name);
  }
}

/**
 * An activation does nothing in front of a QuantizeLinear whose codes end where it cuts. One behind a
 * float output stays.
 */
function removeAbsorbed(
  graph: Graph,
  { node, absorbed, outputs }: SelectedNode,
  selection: Selection,
): void {
  if (absorbed === undefined || !outputs.every((name) => selection.values.has(name))) return;
  graph.removeNode(absorbed.node);
  graph.setOutputs(node, outputs);
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

/** A node that reads the float side of what an int8 layer makes: it would keep that layer float. */
function floatReader(graph: Graph): string | undefined {
  for (const node of graph.nodes) {
    if (!node.is("QuantizeLinear")) continue;
    const maker = graph.producerOf(node.input(0));
    const weight = maker === undefined ? undefined : factOf(maker)?.weight;
    if (weight === undefined || graph.producerOf(maker!.input(weight.input)) === undefined)
      continue;
    const other = graph.consumersOf(node.input(0)).find((reader) => reader !== node);
    if (other !== undefined) return `${other.opType} ${other.name} reads ${node.input(0)} as float`;
  }
  return undefined;
}

/** What a processor without VNNI may lose, layer by layer. */
function saturation(model: Model) {
  const atRisk = saturationRisks(model).filter(({ pairsAtRisk }) => pairsAtRisk > 0);
  return {
    pairsAtRisk: atRisk.reduce((sum, { pairsAtRisk }) => sum + pairsAtRisk, 0),
    mayLoseWithoutVnni: atRisk.map(
      ({ layer, pairs, pairsAtRisk, channels, channelsAtRisk }) =>
        `${layer}: ${pairsAtRisk} of ${pairs} pairs, ${channelsAtRisk} of ${channels} channels`,
    ),
  };
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
