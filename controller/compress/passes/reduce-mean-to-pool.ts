/**
 * Writes the mean over all spatial axes as GlobalAveragePool: the same numbers, but with an 8-bit
 * kernel, which ReduceMean has not in onnxruntime 1.30.
 *
 * x: float32 [N, C, spatial…].
 * 1. ReduceMean over the axes 2 and up, which keeps them → GlobalAveragePool.
 * 2. The same without keeping them → GlobalAveragePool and Flatten, [N, C, 1…] to [N, C].
 *
 * Of a value of rank 3 it must be known that it comes from a convolution or pooling: in transformers
 * the last axis of three holds the features of a token, where the mean is a part of normalisation.
 */
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import { namedAxes } from "../../onnx/ops/shape.ts";
import { inferRanks } from "../infer-shapes.ts";
import { counted, definePass, noOptions, reorderTolerance } from "../pass.ts";

export const reduceMeanToPool = definePass({
  name: "reduce-mean-to-pool",
  summary: "Writes means over all spatial axes as global average pooling.",
  options: noOptions,
  tolerance: reorderTolerance,
  async run({ workbench }, model) {
    const { graph } = model;
    const means = graph.nodes.filter((node) => node.is("ReduceMean"));
    const ranks = await inferRanks(
      model,
      workbench,
      means.map((node) => node.input(0)),
    );
    const spatial = means.filter((node) => isSpatial(graph, node, ranks.get(node.input(0))));
    for (const node of spatial) replace(graph, node);
    return counted("replaced", spatial.length, { left: means.length - spatial.length });
  },
});

function isSpatial(graph: Graph, node: Node, rank: number | undefined): boolean {
  const named = namedAxes(node, graph);
  if (named === undefined || rank === undefined || rank < 3) return false;
  const axes = new Set(named.map((axis) => (axis < 0 ? axis + rank : axis)));
  const isAll = axes.size === rank - 2 && !axes.has(0) && !axes.has(1);
  return isAll && (rank > 3 || isFeatureMap(graph, node.input(0)));
}

const windowOps = new Set(
  ["Conv", "ConvTranspose", "MaxPool", "AveragePool", "BatchNormalization"].concat(
    "InstanceNormalization",
  ),
);

const pointwiseOps = new Set(
  ["Relu", "Clip", "LeakyRelu", "PRelu", "Elu", "Sigmoid", "HardSigmoid", "HardSwish"].concat([
    "Tanh",
    "Gelu",
    "Mish",
    "Add",
    "Mul",
    "Sub",
    "Div",
    "Dropout",
    "Identity",
  ]),
);

/** An activation is a few nodes; a residual branch leads to a convolution on either side. */
const walkMax = 8;

function isFeatureMap(graph: Graph, name: string): boolean {
  let node = graph.producerOf(name);
  for (let steps = 0; node !== undefined && steps < walkMax; steps++) {
    if (node.domain !== "") return false;
    if (windowOps.has(node.opType)) return true;
    if (!pointwiseOps.has(node.opType)) return false;
    node = node.inputs.map((input) => graph.producerOf(input)).find((each) => each !== undefined);
  }
  return false;
}

function replace(graph: Graph, node: Node): void {
  const [input, output] = [node.input(0), node.output(0)];
  const keeps = node.int("keepdims", 1) === 1;
  const name = node.name === "" ? {} : { name: node.name };
  const pooled = keeps ? output : graph.uniqueName(`${output}_pooled`);
  graph.removeNode(node);
  graph.addNode({ ...name, opType: "GlobalAveragePool", inputs: [input], outputs: [pooled] });
  if (!keeps) graph.addNode({ opType: "Flatten", inputs: [pooled], outputs: [output] });
}
