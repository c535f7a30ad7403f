/**
 * Which values have the same shape whatever the inputs hold, as long as the inputs' own shapes are
 * fixed. Only of those does one run tell the shape for all.
 *
 * A value is known when it is computed from constants and shapes alone. Shapes are fixed but behind
 * operators that choose how much they yield by what they read, and behind shape inputs that are not
 * known. Nothing is claimed of branches, loops and other operator sets.
 */
import type { Graph } from "./graph.ts";
import type { Node } from "./node.ts";

/** They yield as many elements as they find. */
const countingOps = new Set(
  ["NonZero", "NonMaxSuppression", "Unique", "Compress", "StringSplit", "TfIdfVectorizer"].concat([
    "SequenceAt",
    "ConcatFromSequence",
    "OptionalGetElement",
    "ImageDecoder",
  ]),
);

/** Inputs whose contents say what the output's shape is; ONNX, docs/Operators.md. */
const shapeInputs: Readonly<Record<string, readonly number[]>> = {
  Reshape: [1],
  Expand: [1],
  Tile: [1],
  Slice: [1, 2, 3, 4],
  Range: [0, 1, 2],
  ConstantOfShape: [0],
  Resize: [1, 2, 3],
  Upsample: [1],
  TopK: [1],
  Pad: [1, 3],
  OneHot: [1],
  Squeeze: [1],
  Unsqueeze: [1],
  Split: [1],
  CenterCropPad: [1],
  MaxUnpool: [2],
  Col2Im: [1, 2],
  BlackmanWindow: [0],
  HammingWindow: [0],
  HannWindow: [0],
  MelWeightMatrix: [0, 1],
  DFT: [1, 2],
  STFT: [1, 3],
};

/** Names of values whose shape is fixed when those of the graph's inputs are. */
export function fixedShapes(graph: Graph): ReadonlySet<string> {
  const known = new Set(graph.initializers.keys());
  for (const name of graph.inputNames) known.delete(name);
  const fixed = new Set([...graph.inputNames, ...graph.initializers.keys()]);
  for (const node of graph.sortedNodes()) {
    if (node.domain !== "" || node.hasSubgraphs || countingOps.has(node.opType)) continue;
    const inputs = node.inputs.filter((name) => name !== "");
    const decisive = decisiveInputs(node).map((at) => node.input(at));
    const isFixed =
      inputs.every((name) => fixed.has(name)) &&
      decisive.every((name) => name === "" || known.has(name));
    if (!isFixed) continue;
    const saysShape = node.is("Shape") || node.is("Size");
    const isKnown = saysShape || node.is("Constant") || inputs.every((name) => known.has(name));
    for (const name of node.outputs) {
      fixed.add(name);
      if (isKnown) known.add(name);
    }
  }
  return fixed;
}

function decisiveInputs(node: Node): readonly number[] {
  return shapeInputs[node.opType] ?? (node.opType.startsWith("Reduce") ? [1] : []);
}
