/** Target shapes of Reshape (ONNX opset 14 Reshape: one length may be -1, which stands for what is left). */
import type { Dim, Graph } from "../onnx/graph.ts";
import { addInts } from "./opset/adapter.ts";

/** Adds the lengths as a constant, -1 for the one that may be unknown; undefined when more are. */
export function constantShape(
  graph: Graph,
  hint: string,
  dims: readonly Dim[] | undefined,
): string | undefined {
  const lengths = dims?.map((dim) => (typeof dim === "number" ? dim : -1));
  if (lengths === undefined || lengths.filter((length) => length === -1).length > 1) {
    return undefined;
  }
  return addInts(graph, hint, lengths);
}
