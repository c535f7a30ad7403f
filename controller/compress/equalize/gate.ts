/**
 * Gates: x · g(x), where g works element by element (SiLU: x · Sigmoid(x); HardSwish: x · Clip(x + 3, 0, 6) / 6,
 * x · HardSigmoid(x), or one operator; GELU: x · (1 + Erf(x / √2)) / 2). Factors pass when g goes on
 * reading x without them: (x/s) · g(x) = y/s.
 */
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import type { ScaleSweep } from "./scale-sweep.ts";
import type { GateEdit, ScaledValue } from "./scaled-value.ts";

/** Element by element, and not handed on by a rule of its own. */
const gateSteps: ReadonlySet<string> = new Set([
  "Add",
  "Clip",
  "Div",
  "Erf",
  "Exp",
  "HardSigmoid",
  "Mul",
  "Neg",
  "Relu",
  "Sigmoid",
  "Softplus",
  "Sub",
  "Tanh",
]);

/** Operators with the gate inside. */
const wholeGates: ReadonlySet<string> = new Set(["HardSwish"]);

/** The longest gate known, GELU by its tangent form, has 8 steps. */
const stepsMax = 8;

/** Takes a node as the entrance of a gate, or returns false. */
export function takeGate(sweep: ScaleSweep, node: Node): boolean {
  if (node.domain !== "") return false;
  const scaled = node.inputs.flatMap((name, input) => {
    const value = sweep.valueOf(name);
    return value === undefined ? [] : [{ input, value }];
  });
  const [only] = scaled;
  if (only === undefined || scaled.length > 1 || only.value.spread !== "none") return false;
  if (only.value.variables.length === 1) return false;
  if (wholeGates.has(node.opType)) {
    sweep.gate({ node, ...only, steps: [], product: node });
    sweep.set(node.output(0), only.value);
    return true;
  }
  const gate = isEntrance(sweep.graph, node) ? gateFrom(sweep, node, only.value) : undefined;
  if (gate === undefined) return false;
  sweep.gate({ node, ...only, ...gate });
  return true;
}

/** Something else than a factor: a Mul or Div by a constant hands factors on, and so does Relu. */
function isEntrance(graph: Graph, node: Node): boolean {
  if (["Mul", "Div", "Relu"].includes(node.opType)) return false;
  return isStep(graph, node);
}

function isStep(graph: Graph, node: Node): boolean {
  if (node.domain !== "" || !gateSteps.has(node.opType)) return false;
  return node.inputs.filter((name) => name !== "" && !isConstant(graph, name)).length === 1;
}

/** The way to a product with a value that has these very factors; undefined when there is none. */
function gateFrom(
  sweep: ScaleSweep,
  entrance: Node,
  value: ScaledValue,
): Pick<GateEdit, "steps" | "product"> | undefined {
  const steps = [entrance];
  while (steps.length <= stepsMax) {
    const output = steps.at(-1)!.output(0);
    const next = sweep.graph.onlyConsumerOf(output);
    if (next === undefined || next.domain !== "") return undefined;
    const other = next.inputs.find((name) => name !== output) ?? output;
    const isProduct = next.opType === "Mul" && sweep.valueOf(other)?.variables === value.variables;
    if (isProduct) return { steps, product: next };
    if (!isStep(sweep.graph, next)) return undefined;
    steps.push(next);
  }
  return undefined;
}

function isConstant(graph: Graph, name: string): boolean {
  return graph.constant(name) !== undefined;
}
