/**
 * Finds x · clip(x/6 + 1/2, 0, 1) written out in simpler operators and writes it as one HardSwish,
 * which the runtime computes in one go and quantization leaves whole.
 *
 * 1. x · HardSigmoid(x) with alpha 1/6 and beta 1/2.
 * 2. x · Clip(x + 3, 0, 6) / 6, factors in any order, Div or Mul by 1/6.
 * 3. x · Clip(x / 6 + 1/2, 0, 1).
 *
 * x and y: float32 of one shape. Source: ONNX opset 14 HardSwish.
 */
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import { factOf } from "../../onnx/ops/registry.ts";
import { definePass, noOptions, reorderTolerance } from "../pass.ts";
import { besideScalar, isNear, type Match, productOf, recognize } from "./pattern.ts";

/** HardSwish exists since. */
const opset = 14;

const sixth = 1 / 6;

export const recognizeHardSwish = definePass({
  name: "recognize-hard-swish",
  summary: "Writes HardSwish that was spelled out as one operator.",
  options: noOptions,
  tolerance: reorderTolerance,
  run: (context, model) => recognize(context, model, { opset, match: matchHardSwish }),
});

function matchHardSwish(graph: Graph, last: Node): Match | undefined {
  if (!last.is("Mul") && !last.is("Div")) return undefined;
  const { factors, scale, nodes } = productOf(graph, last.output(0));
  if (factors.length !== 2) return undefined;
  for (const [x, gate] of [factors, factors.toReversed()] as [string, string][]) {
    const gateNodes = matchGate(graph, { x, gate, scale });
    if (gateNodes === undefined) continue;
    return {
      nodes: new Set([...nodes, ...gateNodes]),
      replacement: { opType: "HardSwish", inputs: [x] },
    };
  }
  return undefined;
}

/** The nodes that make `scale` · `gate` of x, when that is the gate of HardSwish. */
function matchGate(
  graph: Graph,
  { x, gate, scale }: { x: string; gate: string; scale: number },
): readonly Node[] | undefined {
  const node = graph.producerOf(gate);
  if (node?.is("HardSigmoid") && node.input(0) === x) {
    // ONNX opset 6 HardSigmoid: alpha defaults to 0.2, beta to 0.5.
    const isGate = isNear(node.float("alpha", 0.2), sixth) && isNear(node.float("beta", 0.5), 0.5);
    return isGate && isNear(scale, 1) ? [node] : undefined;
  }
  const shifted = node?.is("Clip") ? graph.producerOf(node.input(0)) : undefined;
  if (node === undefined || !shifted?.is("Add")) return undefined;
  const role = factOf(node)?.quantization;
  const bounds = role?.kind === "absorbed" ? role.bounds(node, graph) : undefined;
  if (bounds?.min !== 0) return undefined;
  if (isNear(bounds.max, 6) && isNear(scale, sixth)) {
    return besideScalar(graph, shifted, 3) === x ? [node, shifted] : undefined;
  }
  const inner = besideScalar(graph, shifted, 0.5);
  if (!isNear(bounds.max, 1) || !isNear(scale, 1) || inner === undefined) return undefined;
  const product = productOf(graph, inner);
  const isSixth = isNear(product.scale, sixth) && product.factors.join() === x;
  return isSixth ? [node, shifted, ...product.nodes] : undefined;
}
