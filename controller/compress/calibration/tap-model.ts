/**
 * Makes values in the middle of a model visible: the same model with them as further outputs.
 */
import { makeValueInfo } from "../../onnx/build.ts";
import type { Model } from "../../onnx/model.ts";

/** A copy of the model that also yields `tensors`; values that it takes or yields anyway are left out. */
export function tapModel(model: Model, tensors: Iterable<string>): Model {
  const tapped = model.clone();
  const { graph } = tapped;
  const visible = new Set([...graph.inputNames, ...graph.outputNames]);
  const added = [...new Set(tensors)].filter((name) => !visible.has(name));
  const infos = added.map((name) => graph.infoOf(name) ?? makeValueInfo(name, "float32"));
  for (const name of added) graph.setInfo(name, undefined);
  graph.setOutputInfos([...graph.outputs, ...infos]);
  return tapped;
}
