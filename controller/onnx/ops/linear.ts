/** Operators that multiply by a weight. */
import type { Graph } from "../graph.ts";
import type { Node } from "../node.ts";
import { convPatches, rowPatches } from "./input-patches.ts";
import type { InputRank, OpFact } from "./op-fact.ts";

const product = (dims: readonly number[]): number => dims.reduce((all, dim) => all * dim, 1);

/** Weight [out, in/group, kernel…], bias [out]. */
const conv: OpFact = {
  opType: "Conv",
  outputRank: convRank,
  weight: {
    input: 1,
    bias: 2,
    kernelPositions: (shape) => product(shape.slice(2)),
    inputChannels: (node, shape) => ({ axis: 1, count: shape[1]! * node.int("group", 1) }),
    layout: (_node, shape) => ({
      groups: 1,
      outer: 1,
      channels: shape[0]!,
      inner: product(shape.slice(1)),
      axis: 0,
    }),
    patches: convPatches,
  },
  quantization: {
    kind: "linear",
    floatOutput: false,
    // QLinearConv has no 3-D kernel worth having, and shapes beyond are not made by exporters.
    refusal: (node, graph) => rankRefusal(node, graph, [3, 4]),
  },
};

/** Weight [in, out/group, kernel…], bias [out]. Stays float in int8: no fused kernel. */
const convTranspose: OpFact = {
  opType: "ConvTranspose",
  outputRank: convRank,
  weight: {
    input: 1,
    bias: 2,
    inputChannels: (_node, shape) => ({ axis: 1, count: shape[0]! }),
    layout(node, shape) {
      const groups = node.int("group", 1);
      return {
        groups,
        outer: shape[0]! / groups,
        channels: shape[1]!,
        inner: product(shape.slice(2)),
        axis: 1,
      };
    },
  },
};

/** Y = alpha · A · B + beta · C, B [K, N], or [N, K] with transB. */
const gemm: OpFact = {
  opType: "Gemm",
  outputRank: () => 2,
  weight: {
    input: 1,
    bias: 2,
    channelsLast: true,
    inputChannels: (node, shape) => ({
      axis: node.int("transA", 0) === 0 ? 1 : 0,
      count: shape[node.int("transB", 0)]!,
    }),
    layout(node, shape) {
      if (node.float("alpha", 1) !== 1 || node.float("beta", 1) !== 1) return undefined;
      if (node.int("transB", 0) === 0) {
        return { groups: 1, outer: shape[0]!, channels: shape[1]!, inner: 1, axis: 1 };
      }
      return { groups: 1, outer: 1, channels: shape[0]!, inner: shape[1]!, axis: 0 };
    },
    patches: (node, shape, inputShape) =>
      node.int("transA", 0) === 0
        ? rowPatches(shape[node.int("transB", 0)]!, inputShape)
        : undefined,
  },
  quantization: {
    kind: "linear",
    floatOutput: true,
    needsWeightZeroPoint: true,
    refusal(node) {
      const isPlain =
        node.float("alpha", 1) === 1 && node.float("beta", 1) === 1 && node.int("transA", 0) === 0;
      return isPlain ? undefined : "alpha, beta or transA is set";
    },
  },
};

/** A · B with B [K, N]; a weight of higher rank has no single channel axis. */
const matMul: OpFact = {
  opType: "MatMul",
  outputRank: matMulRank,
  weight: {
    input: 1,
    channelsLast: true,
    inputChannels: (_node, shape) => ({ axis: -1, count: shape.at(-2) ?? shape[0]! }),
    layout: (_node, shape) =>
      shape.length === 2
        ? { groups: 1, outer: shape[0]!, channels: shape[1]!, inner: 1, axis: 1 }
        : undefined,
    patches: (_node, shape, inputShape) => rowPatches(shape[0]!, inputShape),
  },
  quantization: {
    kind: "linear",
    floatOutput: true,
    multipliesActivations: true,
    // MatMul and Add become one float Gemm before the quantized kernels are looked for.
    floatOutputSpoiledBy: ["Add"],
  },
};

/** Input, weight and output have one rank. */
function convRank(node: Node, graph: Graph, inputRank: InputRank): number | undefined {
  return inputRank(0) ?? graph.initializers.get(node.input(1))?.dims.length;
}

/** As numpy.matmul: a vector counts as a matrix whose added dim is dropped from the result. */
function matMulRank(_node: Node, _graph: Graph, inputRank: InputRank): number | undefined {
  const left = inputRank(0);
  const right = inputRank(1);
  if (left === undefined || right === undefined) return undefined;
  return left >= 2 && right >= 2 ? Math.max(left, right) : Math.max(left, right) - 1;
}

function rankRefusal(node: Node, graph: Graph, ranks: readonly number[]): string | undefined {
  const rank = graph.initializers.get(node.input(1))?.dims.length;
  return rank === undefined || ranks.includes(rank) ? undefined : `weights of rank ${rank}`;
}

export const linearOps: readonly OpFact[] = [conv, convTranspose, gemm, matMul];
