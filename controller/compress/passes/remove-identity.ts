/**
 * Takes out nodes that hand their input on unchanged.
 *
 * 1. Identity.
 * 2. Dropout whose mask nobody reads and which is not in training mode (ONNX opset 12 Dropout:
 *    training_mode defaults to false).
 * 3. Cast to the type that the value has already.
 * 4. Times or divided by 1, plus or minus 0, where the constant adds no dims.
 *
 * A node between a graph input and a graph output stays, since both names must.
 */
import type { DataType } from "../../onnx/data-type.ts";
import { dataTypes } from "../../onnx/data-type.ts";
import { elementTypes } from "../../onnx/element-types.ts";
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import { valueRanks } from "../../onnx/ranks.ts";
import { tensorNumbers } from "../../onnx/tensor.ts";
import { counted, definePass, exactTolerance, noOptions } from "../pass.ts";
import { scalarOf } from "./pattern.ts";

interface Facts {
  readonly graph: Graph;
  readonly types: ReadonlyMap<string, DataType>;
  readonly ranks: ReadonlyMap<string, number>;
}

/** The value that a node hands on, undefined when it changes it. */
type HandedOn = (node: Node, facts: Facts) => string | undefined;

const identities: Readonly<Record<string, HandedOn>> = {
  Identity: (node) => node.input(0),
  Dropout: (node, { graph }) => (isInferenceDropout(node, graph) ? node.input(0) : undefined),
  Cast(node, { types }) {
    const type = types.get(node.input(0));
    const isSame = type !== undefined && dataTypes[type].code === node.int("to", 0);
    return isSame ? node.input(0) : undefined;
  },
  Mul: (node, facts) => besideNeutral(node, 1, facts) ?? besideNeutral(node, 1, facts, "first"),
  Add: (node, facts) => besideNeutral(node, 0, facts) ?? besideNeutral(node, 0, facts, "first"),
  Div: (node, facts) => besideNeutral(node, 1, facts),
  Sub: (node, facts) => besideNeutral(node, 0, facts),
};

/** The operand beside a constant that changes nothing. */
function besideNeutral(
  node: Node,
  neutral: number,
  { graph, ranks }: Facts,
  constantAt: "first" | "second" = "second",
): string | undefined {
  const [left, right] = [node.input(0), node.input(1)];
  const [value, name] = constantAt === "second" ? [left, right] : [right, left];
  const constant = graph.constant(name);
  const addsNoDims =
    constant !== undefined &&
    (constant.dims.length === 0 || constant.dims.length <= (ranks.get(value) ?? 0));
  return addsNoDims && scalarOf(graph, name) === neutral ? value : undefined;
}

export const removeIdentity = definePass({
  name: "remove-identity",
  summary: "Removes Identity, Dropout at inference, and arithmetic that changes nothing.",
  options: noOptions,
  tolerance: exactTolerance,
  run(_context, model) {
    const { graph } = model;
    const facts = { graph, types: elementTypes(graph), ranks: valueRanks(graph) };
    let removed = 0;
    for (const node of graph.sortedNodes()) {
      const value = node.domain === "" ? identities[node.opType]?.(node, facts) : undefined;
      if (value !== undefined && bypass(graph, node, value)) removed++;
    }
    return counted("removed", removed);
  },
});

function isInferenceDropout(node: Node, graph: Graph): boolean {
  const mask = node.output(1);
  if (mask !== "" && (graph.consumersOf(mask).length > 0 || graph.isOutput(mask))) return false;
  const training = node.input(2);
  if (training === "") return true;
  const tensor = graph.constant(training);
  return tensor !== undefined && tensorNumbers(tensor)[0] === 0;
}

/** Joins the node's input and output into one value; false when both names must stay. */
function bypass(graph: Graph, node: Node, input: string): boolean {
  const output = node.output(0);
  if (!graph.isOutput(output)) {
    graph.removeNode(node);
    graph.replaceUses(output, input);
    graph.setInfo(output, undefined);
    return true;
  }
  const producer = graph.producerOf(input);
  if (producer === undefined || graph.isOutput(input)) return false;
  graph.removeNode(node);
  graph.setOutputs(
    producer,
    producer.outputs.map((name) => (name === input ? output : name)),
  );
  graph.replaceUses(input, output);
  graph.setInfo(input, undefined);
  return true;
}
