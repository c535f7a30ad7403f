/**
 * Puts constants where passes look for them.
 *
 * 1. A Constant node becomes an initializer under its output's name: `value`, `value_float(s)`,
 *    `value_int(s)`. Text and sparse constants stay, and so do constants that the graph yields.
 * 2. An initializer that is also a graph input, as old exporters write all weights, is no input any
 *    more: nobody overrides weights by feeding them.
 */
import type { Node } from "../../onnx/node.ts";
import type { TensorProto } from "../../onnx/schema.ts";
import { floatTensor, intTensor, renameTensor } from "../../onnx/tensor.ts";
import { definePass, exactTolerance, noOptions } from "../pass.ts";

/** Up to this format every initializer had to be an input (ONNX, docs/IR.md, version 4). */
const irVersionMin = 4;

export const constantsToInitializers = definePass({
  name: "constants-to-initializers",
  summary: "Turns Constant nodes into initializers and frees weights from being inputs.",
  options: noOptions,
  tolerance: exactTolerance,
  run(_context, model) {
    const { graph } = model;
    let constants = 0;
    for (const node of graph.nodes) {
      const name = node.output(0);
      const tensor = node.is("Constant") && !graph.isOutput(name) ? constantOf(node) : undefined;
      if (tensor === undefined) continue;
      graph.removeNode(node);
      graph.setInitializer(renameTensor(tensor, name));
      constants++;
    }
    const kept = graph.inputs.filter(({ name }) => !graph.initializers.has(name ?? ""));
    const freed = graph.inputs.length - kept.length;
    if (freed > 0) graph.setInputInfos(kept);
    const isOldFormat = model.irVersion < irVersionMin;
    if (isOldFormat) model.setIrVersion(irVersionMin);
    return {
      modified: constants + freed > 0 || isOldFormat,
      report: { constants, freedInputs: freed },
    };
  },
});

/** The value of a Constant node, undefined for text and sparse ones. */
function constantOf(node: Node): TensorProto | undefined {
  const float = node.float("value_float", undefined);
  if (float !== undefined) return floatTensor("", [], [float]);
  const floats = node.floats("value_floats", undefined);
  if (floats !== undefined) return floatTensor("", [floats.length], floats);
  const int = node.int("value_int", undefined);
  if (int !== undefined) return intTensor("", [int], []);
  const ints = node.ints("value_ints", undefined);
  if (ints !== undefined) return intTensor("", ints);
  return node.tensor("value");
}
