/**
 * Finds Gelu written out in simpler operators and writes it as one node, which the runtime computes in
 * one go and quantization leaves whole.
 *
 * 1. x/2 · (1 + erf(x / √2)), factors in any order.
 * 2. x/2 · (1 + tanh(√(2/π) · (x + 0.044715 · x³))), also with x drawn out of the inner sum:
 *    x · √(2/π) · (1 + 0.044715 · x²). The powers are Pow or Mul.
 *
 * x and y: float32 of one shape. Source: Hendrycks and Gimpel, arXiv 1606.08415; ONNX opset 20 Gelu,
 * attribute approximate.
 */
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import { definePass, noOptions, reorderTolerance } from "../pass.ts";
import { besideScalar, isNear, type Match, productOf, recognize } from "./pattern.ts";

/** Gelu exists since. */
const opset = 20;

/** Coefficients of the approximation by tanh. */
const rootTwoByPi = Math.sqrt(2 / Math.PI);
const cubeFactor = 0.044715;

export const recognizeGelu = definePass({
  name: "recognize-gelu",
  summary: "Writes Gelu that was spelled out as one operator.",
  options: noOptions,
  tolerance: reorderTolerance,
  run: (context, model) => recognize(context, model, { opset, match: matchGelu }),
});

function matchGelu(graph: Graph, last: Node): Match | undefined {
  if (!last.is("Mul") && !last.is("Div")) return undefined;
  const { factors, scale, nodes } = productOf(graph, last.output(0));
  if (factors.length !== 2 || !isNear(scale, 0.5)) return undefined;
  for (const [x, gate] of [factors, factors.toReversed()] as [string, string][]) {
    const sum = graph.producerOf(gate);
    const inner = sum?.is("Add") ? besideScalar(graph, sum, 1) : undefined;
    const curve = inner === undefined ? undefined : graph.producerOf(inner);
    if (sum === undefined || curve === undefined) continue;
    const argument = curve.is("Erf")
      ? matchErf(graph, curve.input(0), x)
      : curve.is("Tanh") && matchTanh(graph, curve.input(0), x);
    if (!argument) continue;
    const approximate = curve.is("Erf") ? "none" : "tanh";
    return {
      nodes: new Set([...nodes, sum, curve, ...argument]),
      replacement: {
        opType: "Gelu",
        inputs: [x],
        attributes: { approximate: { string: approximate } },
      },
    };
  }
  return undefined;
}

/** The nodes of x / √2. */
function matchErf(graph: Graph, name: string, x: string): readonly Node[] | undefined {
  const { factors, scale, nodes } = productOf(graph, name);
  return factors.join() === x && isNear(scale, Math.SQRT1_2) ? nodes : undefined;
}

/** The nodes of √(2/π) · (x + 0.044715 · x³), or of x · √(2/π) · (1 + 0.044715 · x²). */
function matchTanh(graph: Graph, name: string, x: string): readonly Node[] | undefined {
  const outer = productOf(graph, name);
  if (!isNear(outer.scale, rootTwoByPi)) return undefined;
  const isDrawnOut = outer.factors.length === 2;
  const rest = isDrawnOut ? outer.factors.filter((factor) => factor !== x) : outer.factors;
  const sum = rest.length === 1 ? graph.producerOf(rest[0]!) : undefined;
  if (!sum?.is("Add")) return undefined;
  const power = isDrawnOut ? besideScalar(graph, sum, 1) : otherOperand(sum, x);
  if (power === undefined) return undefined;
  const { factors, scale, nodes } = productOf(graph, power);
  const isPower = factors.length === (isDrawnOut ? 2 : 3) && factors.every((name) => name === x);
  return isPower && isNear(scale, cubeFactor) ? [...outer.nodes, sum, ...nodes] : undefined;
}

function otherOperand(node: Node, name: string): string | undefined {
  if (node.input(0) === name) return node.input(1);
  return node.input(1) === name ? node.input(0) : undefined;
}
