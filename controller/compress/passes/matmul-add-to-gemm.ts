/**
 * Joins a matrix product and the addition of its bias into one Gemm, whose bias quantization can keep
 * in 32 bits. onnxruntime does the same when it loads a float model, but then in float: it turns MatMul
 * and Add into a Gemm before it looks for quantized kernels (matmul_add_fusion.cc), so a MatMul between
 * DequantizeLinear and Add would lose its integer form.
 *
 * 1. MatMul(x, W) + b → Gemm(x, W, b): x float32 [M, K], W float32 [K, N] and b float32 [N] or [1, N],
 *    both constant; only the Add reads the product.
 * 2. x of another rank, with `anyRank`: the Gemm stands between two Reshape, [-1, K] before and the old
 *    dims behind. That is done where all dims of x but one are declared, since the shape is a constant.
 *    One rounding less in int8; in float nothing is gained, and 4-bit kernels want the MatMul.
 */
import { z } from "zod";
import type { Dim, Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import { floatTensor, intTensor, tensorFloats, tensorShape } from "../../onnx/tensor.ts";
import { inferRanks } from "../infer-shapes.ts";
import { counted, definePass, reorderTolerance } from "../pass.ts";

export const matMulAddToGemm = definePass({
  name: "matmul-add-to-gemm",
  summary: "Joins matrix products and their biases.",
  options: z.strictObject({
    /** Also for inputs that are no matrices, by Reshape before and after. */
    anyRank: z.boolean().default(false),
  }),
  tolerance: reorderTolerance,
  async run({ workbench }, model, { anyRank }) {
    const { graph } = model;
    const found = graph.sortedNodes().flatMap((node) => matchBiased(graph, node) ?? []);
    const ranks = await inferRanks(
      model,
      workbench,
      found.map(({ matMul }) => matMul.input(0)),
    );
    let joined = 0;
    for (const pair of found) {
      const rank = ranks.get(pair.matMul.input(0));
      if (rank === 2) join(graph, pair, pair.matMul.input(0), pair.add.output(0));
      else if (!anyRank || rank === undefined || !joinFlat(graph, pair)) continue;
      joined++;
    }
    return counted("joined", joined, { left: found.length - joined });
  },
});

interface BiasedProduct {
  readonly matMul: Node;
  readonly add: Node;
  /** Name of b. */
  readonly bias: string;
  /** K and N. */
  readonly weightShape: readonly number[];
}

function matchBiased(graph: Graph, add: Node): BiasedProduct | undefined {
  if (!add.is("Add")) return undefined;
  for (const [product, bias] of [add.inputs, add.inputs.toReversed()] as [string, string][]) {
    const matMul = graph.producerOf(product);
    if (!matMul?.is("MatMul") || graph.onlyConsumerOf(product) !== add) continue;
    const weight = graph.constant(matMul.input(1));
    const shift = graph.constant(bias);
    const names = [matMul.input(1), bias];
    const areFloat = names.every((name) => graph.declaredType(name) === "float32");
    if (weight?.dims.length !== 2 || shift === undefined || !areFloat) continue;
    const weightShape = tensorShape(weight);
    const [length, ...more] = tensorShape(shift).toReversed();
    const isRow = length === weightShape[1] && (more.length === 0 || more.join() === "1");
    if (isRow) return { matMul, add, bias, weightShape };
  }
  return undefined;
}

/** Case 1: one Gemm from `input` to `output` in place of the two. */
function join(graph: Graph, pair: BiasedProduct, input: string, output: string): void {
  const { matMul, add, bias, weightShape } = pair;
  const name = matMul.name === "" ? {} : { name: matMul.name };
  graph.setInfo(matMul.output(0), undefined);
  graph.removeNode(add);
  graph.removeNode(matMul);
  graph.addNode({
    ...name,
    opType: "Gemm",
    inputs: [input, matMul.input(1), asVector(graph, bias, weightShape[1]!)],
    outputs: [output],
  });
}

/** Quantization takes a bias of one dim. */
function asVector(graph: Graph, bias: string, length: number): string {
  const tensor = graph.constant(bias)!;
  if (tensor.dims.length === 1) return bias;
  return graph.setInitializer(floatTensor(graph.uniqueName(bias), [length], tensorFloats(tensor)));
}

/** Case 2; false when too little is known of the input's dims. */
function joinFlat(graph: Graph, pair: BiasedProduct): boolean {
  const { matMul, add, weightShape } = pair;
  const [input, output] = [matMul.input(0), add.output(0)];
  const shape = outputShape(graph.declaredShape(input), weightShape[1]!);
  if (shape === undefined) return false;
  const [flat, result] = [graph.uniqueName(`${input}_flat`), graph.uniqueName(`${output}_flat`)];
  const reshape = (from: string, to: string, dims: readonly number[]): void => {
    const name = graph.uniqueName(`${to}_shape`);
    const target = graph.setInitializer(intTensor(name, dims));
    graph.addNode({ opType: "Reshape", inputs: [from, target], outputs: [to] });
  };
  join(graph, pair, flat, result);
  reshape(input, flat, [-1, weightShape[0]!]);
  reshape(result, output, shape);
  return true;
}

/** The dims of x with N for the last, -1 for the one that may be unknown. */
function outputShape(dims: readonly Dim[] | undefined, columns: number): number[] | undefined {
  if (dims === undefined || dims.length < 3) return undefined;
  const leading = dims.slice(0, -1).map((dim) => (typeof dim === "number" ? dim : -1));
  if (leading.filter((dim) => dim === -1).length > 1) return undefined;
  return [...leading, columns];
}
