/**
 * The linear layers of a selection, from what the graph holds of them to the integers to store:
 * `planLayers` gathers, `quantizeLayer` lets the strategies choose. Neither edits the graph.
 *
 * Shapes: weight as its operator lays it out, bias [channels]; both float32 before, int8 or uint8 and
 * int32 after. Bias scale = input scale · weight scale, zero point 0 (onnxruntime 1.30,
 * quantization/base_quantizer.py, quantize_bias_static_impl).
 */
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import type { ChannelLayout, WeightFact } from "../../onnx/ops/op-fact.ts";
import { factOf } from "../../onnx/ops/registry.ts";
import { tensorElements, tensorFloats, tensorShape } from "../../onnx/tensor.ts";
import { codesReached } from "./parameters.ts";
import type { Rounding, RoundingRequest } from "./rounding/strategy.ts";
import { type QuantizationParameters, quantizeBias, type Range, raisedScale } from "./scale.ts";
import { activationFormat, type Scheme, type WeightFormat, weightFormat } from "./scheme.ts";
import type { Selection } from "./selection.ts";
import { toLayout, type WeightRows, weightRows } from "./weight-rows.ts";
import type { Pairing, WeightScale } from "./weight-scale/strategy.ts";

/** A linear node with its constants, before anything is quantized. */
export interface LinearLayer {
  readonly node: Node;
  readonly fact: WeightFact;
  readonly shape: readonly number[];
  /** Undefined where the weight has no axis of output channels. */
  readonly layout: ChannelLayout | undefined;
  readonly rows: WeightRows;
  readonly perChannel: boolean;
  readonly format: WeightFormat;
  readonly bias: Float32Array | undefined;
  readonly input: QuantizationParameters;
  /** Stored codes of the input that calibration reaches. */
  readonly inputCodes: Range;
  /** As in `WeightScaleRequest`. */
  readonly pairing: Pairing | undefined;
}

/** The integers of a layer. */
export interface LayerCodes {
  /** float32, one per output channel or one for all. */
  readonly scales: Float32Array;
  /** Centred codes in the weight's own order. */
  readonly weight: Int16Array;
  readonly bias: { readonly codes: Int32Array; readonly scales: Float32Array } | undefined;
  /** Weight scales that the bias made larger. */
  readonly raisedScales: number;
}

export interface LayerStrategies {
  readonly weightScale: WeightScale;
  readonly rounding: Rounding;
}

/** What the graph says of each linear layer. `parameters` and `ranges` are by value name. */
export function planLayers(
  graph: Graph,
  selection: Selection,
  known: {
    readonly parameters: ReadonlyMap<string, QuantizationParameters>;
    readonly ranges: ReadonlyMap<string, Range>;
  },
  schemeOf: (node: Node) => Scheme & {
    /** True gives each layer that may have a bias one, of zeros where it has none. */
    readonly biasCorrection: boolean | "fast";
  },
): LinearLayer[] {
  return selection.nodes.flatMap(({ node, role }) => {
    if (role.kind !== "linear") return [];
    const scheme = schemeOf(node);
    const format = activationFormat(scheme);
    const fact = factOf(node)!.weight!;
    const weight = graph.constant(node.input(fact.input))!;
    const shape = tensorShape(weight);
    const layout = fact.layout(node, shape);
    const input = known.parameters.get(node.input(0))!;
    const rows = weightRows(tensorFloats(weight), layout);
    const perChannel = scheme.perChannel && layout !== undefined;
    const mayHaveBias =
      scheme.biasCorrection === true && fact.bias !== undefined && layout !== undefined;
    const noBias = mayHaveBias ? new Float32Array(rows.channels) : undefined;
    return {
      node,
      fact,
      shape,
      layout,
      rows,
      perChannel,
      format: weightFormat(scheme, perChannel, rows.values),
      bias: biasOf(graph, node.input(fact.bias ?? -1)) ?? noBias,
      input,
      inputCodes: codesReached(known.ranges.get(node.input(0)), input, format),
      pairing: pairingOf(node, fact, shape, { rows, type: format.type }),
    };
  });
}

/** `known` goes to the strategies as it is. */
export async function quantizeLayer(
  layer: LinearLayer,
  { weightScale, rounding }: LayerStrategies,
  known: Pick<RoundingRequest, "evidence" | "signal"> = {},
): Promise<LayerCodes> {
  const { rows, perChannel, format, input, inputCodes, pairing, bias } = layer;
  const { codes, symmetric } = format;
  const gram = known.evidence?.gram;
  const request = { rows, perChannel, codes, symmetric, input, inputCodes, pairing, gram };
  const scales = weightScale.scales(request);
  const raisedScales = bias === undefined ? 0 : makeRoomForBias(scales, bias, layer);
  const rounded = await rounding.round({ rows, scales, codes, ...known });
  const weight = toLayout(rounded, layer.layout);
  if (bias === undefined) return { scales, weight, bias, raisedScales };
  const biasScales = scales.map((scale) => scale * input.scale);
  const biasCodes = quantizeBias(bias, biasScales);
  return { scales, weight, bias: { codes: biasCodes, scales: biasScales }, raisedScales };
}

/**
 * Raises weight scales whose bias would not fit into int32. A channel whose weights are all zero has
 * no scale of its own: it gets one with which its bias keeps 24 bits. Returns how many it raised.
 */
function makeRoomForBias(
  scales: Float32Array,
  bias: Float32Array,
  { rows, perChannel, input }: LinearLayer,
): number {
  const raise = (at: number, value: number): number => {
    const raised = raisedScale(scales[at]!, value, input.scale, perChannel);
    if (raised === scales[at]) return 0;
    scales[at] = raised;
    return 1;
  };
  if (!perChannel)
    return raise(
      0,
      bias.reduce((max, value) => Math.max(max, Math.abs(value)), 0),
    );
  let raised = 0;
  bias.forEach((value, channel) => {
    if (!isZeroRow(rows, channel)) raised += raise(channel, value);
    else scales[channel] = value === 0 ? 1 : Math.abs(value) / 2 ** 24 / input.scale;
  });
  return raised;
}

/**
 * A depthwise convolution adds no pairs: its kernels widen each product (onnxruntime 1.30, qdwconv.cpp and
 * ConvSymKernelAvx2.S). Signed activations are shifted to unsigned ones before they meet a kernel.
 */
function pairingOf(
  node: Node,
  fact: WeightFact,
  shape: readonly number[],
  { rows, type }: { readonly rows: WeightRows; readonly type: "uint8" | "int8" },
): Pairing | undefined {
  const kernelPositions = fact.kernelPositions?.(shape) ?? 1;
  const isDepthwise = rows.length === kernelPositions && node.int("group", 1) === rows.channels;
  if (isDepthwise && rows.channels > 1) return undefined;
  return { kernelPositions, codeShift: type === "int8" ? 128 : 0 };
}

function isZeroRow({ values, length }: WeightRows, row: number): boolean {
  return values.subarray(row * length, (row + 1) * length).every((value) => value === 0);
}

function biasOf(graph: Graph, name: string): Float32Array | undefined {
  const tensor = name === "" ? undefined : graph.constant(name);
  return tensor === undefined || tensorElements(tensor) === 0 ? undefined : tensorFloats(tensor);
}
