/**
 * Takes out nodes that hand their input on unchanged.
 *
 * 1. Identity.
 * 2. Dropout whose mask nobody reads and which is not in training mode (ONNX opset 12 Dropout:
 *    training_mode defaults to false).
 * 3. Cast to the type that the value has already.
 *
 * A node between a graph input and a graph output stays, since both names must.
 */
import type { DataType } from "../../onnx/data-type.ts";
import { dataTypes } from "../../onnx/data-type.ts";
import { elementTypes } from "../../onnx/element-types.ts";
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import { tensorNumbers } from "../../onnx/tensor.ts";
import { counted, definePass, exactTolerance, noOptions } from "../pass.ts";

type IsIdentity = (node: Node, graph: Graph, types: ReadonlyMap<string, DataType>) => boolean;

const identities: Readonly<Record<string, IsIdentity>> = {
  Identity: () => true,
  Dropout: isInferenceDropout,
  Cast(node, _graph, types) {
    const type = types.get(node.input(0));
    return type !== undefined && dataTypes[type].code === node.int("to", 0);
  },
};

export const removeIdentity = definePass({
  name: "remove-identity",
  summary: "Removes Identity, Dropout at inference, and Casts that change nothing.",
  options: noOptions,
  tolerance: exactTolerance,
  run(_context, model) {
    const { graph } = model;
    const types = elementTypes(graph);
    let removed = 0;
    for (const node of graph.sortedNodes()) {
      const isIdentity = node.domain === "" ? identities[node.opType] : undefined;
      if (isIdentity?.(node, graph, types) && bypass(graph, node)) removed++;
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
function bypass(graph: Graph, node: Node): boolean {
  const input = node.input(0);
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
