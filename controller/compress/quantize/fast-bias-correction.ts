/**
 * Bias correction without a run of the quantized model: each layer by itself, on one input that holds the
 * mean of each channel everywhere. The bias grows by the mean of what the float layer yields on samples,
 * less what the layer with its quantized weights yields on that input, averaged over positions.
 *
 * 1. One run of the float model per sample, and one run of a model in which every layer stands alone; the
 *    layers do not see each other, so their order does not matter.
 * 2. What it takes out is the error of the weights. The constant input also differs from real ones where
 *    padding is read and where a stride leaves positions out, so that the shift holds a part which is no
 *    error of quantization. It helps some models, most of all on data unlike those they were trained on,
 *    and harms others: whoever uses it compares candidates on samples.
 * 3. A layer is left alone when one of its biases is 0 or one shift is twice the bias or more: so much is
 *    taken for a layer that went wrong.
 *
 * Bias int32 [channels] with scales float32 per channel or one for all; only the bias codes change.
 *
 * Source: the algorithm "Fast Bias Correction" of NNCF 3, quantization/algorithms/fast_bias_correction,
 * by its description; rule and threshold of case 3 are its own.
 */
import { makeGraph, makeModel, makeNode, makeValueInfo, type NodeInput } from "../../onnx/build.ts";
import { Model } from "../../onnx/model.ts";
import type { Node } from "../../onnx/node.ts";
import { tensorDataAs } from "../../onnx/tensor.ts";
import type { TensorValue } from "../execute.ts";
import {
  type CorrectableLayer,
  type CorrectBiasesOptions,
  type CorrectionReport,
  channeled,
  shiftBias,
} from "./bias-correction.ts";
import { ChannelMeans, observeMeans } from "./channel-means.ts";

/** Largest believed shift, as a multiple of the bias (NNCF's threshold). */
const shareMax = 2;

/** Throws `calibration-failed` when there are no samples or outputs are not finite. */
export async function correctBiasesFast(options: CorrectBiasesOptions): Promise<CorrectionReport> {
  const { float, quantized, layers } = options;
  const values = layers.flatMap((layer) => {
    const { floatOutput } = layer;
    const read = float.graph.producerOf(floatOutput)!.input(0);
    return [channeled(layer, read), channeled(layer, floatOutput)];
  });
  const { means, samples } = await observeMeans(float, values, options);
  const inputs = layers.map((_layer, at) => means[2 * at]!.constant());
  const outputs = await runAlone(quantized, layers, inputs, options);
  let [correctedChannels, skippedChannels] = [0, 0];
  for (const [at, layer] of layers.entries()) {
    const actual = new ChannelMeans(channeled(layer, "").channelsLast);
    actual.add(outputs[at]!);
    const got = actual.overall();
    const shifts = means[2 * at + 1]!.overall().map((mean, channel) => mean - got[channel]!);
    if (!isBelieved(quantized, layer, shifts)) skippedChannels += shifts.length;
    else correctedChannels += shiftBias(quantized, layer, shifts).corrected;
  }
  const correctionRuns = samples + 1;
  return { correctedLayers: layers.length, correctedChannels, skippedChannels, correctionRuns };
}

function isBelieved(model: Model, { bias }: CorrectableLayer, shifts: Float64Array): boolean {
  const codes = tensorDataAs(model.graph.constant(bias.initializer)!, "int32");
  return codes.every((code, channel) => {
    const value = code * bias.scales[bias.scales.length === 1 ? 0 : channel]!;
    return code !== 0 && Math.abs(shifts[channel]! / value) < shareMax;
  });
}

/** What each layer yields on its input, in the layers' order. */
async function runAlone(
  model: Model,
  layers: readonly CorrectableLayer[],
  inputs: readonly TensorValue[],
  { workbench }: CorrectBiasesOptions,
): Promise<TensorValue[]> {
  const loaded = await workbench.load(layersAlone(model, layers, inputs).encode());
  try {
    const outputs = await loaded.run(new Map(inputs.map((value, at) => [`in${at}`, value])));
    return layers.map((_layer, at) => outputs.get(`out${at}`)!);
  } finally {
    await loaded.close();
  }
}

/** A model with an input and an output for each layer, and nothing between them. */
function layersAlone(
  { graph, opset, irVersion }: Model,
  layers: readonly CorrectableLayer[],
  inputs: readonly TensorValue[],
): Model {
  const constants = layers.flatMap(({ node }) =>
    node.inputs.slice(1).flatMap((name) => graph.producerOf(name) ?? []),
  );
  const dequantizers = [...new Set(constants)];
  const read = [...dequantizers, ...layers.map(({ node }) => node)].flatMap(({ inputs }) => inputs);
  const initializers = [...new Set(read)].flatMap((name) => graph.initializers.get(name) ?? []);
  const alone = layers.map(({ node }, at) =>
    copyOf(node, [`in${at}`, ...node.inputs.slice(1)], [`out${at}`]),
  );
  const copied = dequantizers.map((each) => copyOf(each, each.inputs, each.outputs));
  const made = makeGraph({
    nodes: [...copied, ...alone].map(makeNode),
    inputs: inputs.map(({ shape }, at) => makeValueInfo(`in${at}`, "float32", shape)),
    outputs: layers.map((_layer, at) => makeValueInfo(`out${at}`, "float32")),
    initializers,
  });
  return Model.fromProto(makeModel({ graph: made, opset, irVersion }));
}

function copyOf(node: Node, inputs: readonly string[], outputs: readonly string[]): NodeInput {
  const { opType, domain, proto } = node;
  return { opType, domain, inputs, outputs, copiedAttributes: proto.attribute };
}
