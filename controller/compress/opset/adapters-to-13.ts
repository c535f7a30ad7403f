/**
 * Every operator whose meaning or form changed between operator sets 7 and 13. Two kinds of change
 * make up nearly all: an attribute became an input, and a default changed.
 * Source: ONNX, docs/Changelog.md, versions 8 to 13.
 */
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import { floatTensor, tensorNumbers } from "../../onnx/tensor.ts";
import {
  type AdapterContext,
  addFloat,
  addInts,
  cannotConvert,
  intsToInput,
  type OpsetAdapter,
  refusal,
  replaceNode,
} from "./adapter.ts";

/** Upsample 9: scales become input 1. */
const upsample9: OpsetAdapter = {
  opType: "Upsample",
  version: 9,
  convert({ graph, node }) {
    const scales = node.floats("scales", undefined);
    if (scales === undefined) throw cannotConvert(node, "attribute scales is missing");
    node.removeAttribute("scales");
    const name = graph.uniqueName(`${node.output(0)}_scales`);
    graph.setInput(node, 1, graph.setInitializer(floatTensor(name, [scales.length], scales)));
  },
};

/** BatchNormalization 9 always works per channel, which was the default before. */
const batchNormalization9: OpsetAdapter = {
  opType: "BatchNormalization",
  version: 9,
  convert({ node }) {
    if (node.int("spatial", 1) !== 1) throw cannotConvert(node, "it normalises single activations");
    node.removeAttribute("spatial");
  },
};

/** Slice 10: starts, ends and axes become inputs 1 to 3. */
const slice10: OpsetAdapter = {
  opType: "Slice",
  version: 10,
  convert({ graph, node }) {
    const starts = node.ints("starts", undefined);
    const ends = node.ints("ends", undefined);
    if (!starts || !ends) throw cannotConvert(node, "starts or ends are missing");
    const axes = node.ints("axes", undefined);
    const add = (what: string, values: readonly number[]): string =>
      addInts(graph, `${node.output(0)}_${what}`, values);
    const added = [add("starts", starts), add("ends", ends)];
    if (axes !== undefined) added.push(add("axes", axes));
    for (const attribute of ["starts", "ends", "axes"]) node.removeAttribute(attribute);
    graph.setInputs(node, [node.input(0), ...added]);
  },
};

/** TopK 10: k becomes input 1. */
const topK10: OpsetAdapter = {
  opType: "TopK",
  version: 10,
  convert({ graph, node }) {
    const k = node.int("k", undefined);
    if (k === undefined) throw cannotConvert(node, "attribute k is missing");
    node.removeAttribute("k");
    graph.setInput(node, 1, addInts(graph, `${node.output(0)}_k`, [k]));
  },
};

/** Upsample 9 and Resize 10 mean one thing under two names. */
const upsample10: OpsetAdapter = {
  opType: "Upsample",
  version: 10,
  convert(context) {
    const mode = { string: context.node.string("mode", "nearest") };
    replaceNode(context, { opType: "Resize", inputs: context.node.inputs, attributes: { mode } });
  },
};

/**
 * Resize 11 gets a region of interest as input 1 and says how coordinates are mapped; Resize 10
 * mapped them asymmetrically and took the pixel below. onnxruntime, which is what devices run, takes
 * the one above when it makes an image smaller (upsamplebase.h, NearestPixel SIMPLE).
 */
const resize11: OpsetAdapter = {
  opType: "Resize",
  version: 11,
  convert({ graph, node }) {
    const region = graph.uniqueName(`${node.output(0)}_roi`);
    graph.setInitializer(floatTensor(region, [0], []));
    graph.setInputs(node, [node.input(0), region, node.input(1)]);
    node.setAttribute("coordinate_transformation_mode", { string: "asymmetric" });
    if (node.string("mode", "nearest") === "nearest") {
      node.setAttribute("nearest_mode", { string: isShrinking(graph, node) ? "ceil" : "floor" });
    }
  },
};

/** Whether constant scales make the image smaller; scales computed at run time enlarge in practice. */
function isShrinking(graph: Graph, node: Node): boolean {
  const tensor = graph.constant(node.input(2));
  const scales = tensor === undefined ? [] : tensorNumbers(tensor);
  const smaller = scales.some((scale) => scale < 1);
  if (smaller && scales.some((scale) => scale > 1)) {
    throw cannotConvert(node, "it makes one axis longer and another shorter");
  }
  return smaller;
}

/** Clip 11: min and max become inputs 1 and 2. Their defaults were the ends of float32. */
const clip11: OpsetAdapter = {
  opType: "Clip",
  version: 11,
  convert({ graph, node }) {
    const bounds = (["min", "max"] as const).map((attribute) => {
      const value = node.float(attribute, undefined);
      node.removeAttribute(attribute);
      return value === undefined ? "" : addFloat(graph, `${node.output(0)}_${attribute}`, value);
    });
    const inputs = [node.input(0), ...bounds];
    while (inputs.at(-1) === "") inputs.pop();
    graph.setInputs(node, inputs);
  },
};

/** Pad 11: pads and value become inputs 1 and 2. */
const pad11: OpsetAdapter = {
  opType: "Pad",
  version: 11,
  convert({ graph, node }) {
    const pads = node.ints("pads", undefined);
    if (pads === undefined) throw cannotConvert(node, "attribute pads is missing");
    const value = node.float("value", 0);
    node.removeAttribute("pads");
    node.removeAttribute("value");
    const inputs = [node.input(0), addInts(graph, `${node.output(0)}_pads`, pads)];
    if (value !== 0) inputs.push(addFloat(graph, `${node.output(0)}_value`, value));
    graph.setInputs(node, inputs);
  },
};

/** Scatter is called ScatterElements since 11. */
const scatter11: OpsetAdapter = {
  opType: "Scatter",
  version: 11,
  convert(context) {
    const { node } = context;
    const axis = { int: node.int("axis", 0) };
    const attributes = { axis };
    replaceNode(context, { opType: "ScatterElements", inputs: node.inputs, attributes });
  },
};

/** Dropout 12: ratio becomes input 1; training is off unless input 2 says otherwise. */
const dropout12: OpsetAdapter = {
  opType: "Dropout",
  version: 12,
  convert({ graph, node }) {
    const ratio = node.float("ratio", undefined);
    node.removeAttribute("ratio");
    if (ratio === undefined) return;
    graph.setInput(node, 1, addFloat(graph, `${node.output(0)}_ratio`, ratio));
  },
};

/**
 * Softmax, LogSoftmax and Hardmax 13 work along one axis; before, they flattened the value to two
 * dims at `axis` (default 1) and worked along the second. Both are the same when `axis` is the last;
 * otherwise, or when the rank is not known, the flattening is written out.
 */
function lastAxis13(opType: string): OpsetAdapter {
  return {
    opType,
    version: 13,
    convert(context) {
      const { node, rankOf } = context;
      const axis = node.int("axis", 1);
      const rank = rankOf(node.input(0)) ?? rankOf(node.output(0));
      if (axis === -1 || (rank !== undefined && (axis < 0 ? axis + rank : axis) === rank - 1)) {
        node.setAttribute("axis", { int: -1 });
        return;
      }
      flattenAround(context, axis);
    },
  };
}

function flattenAround({ graph, node }: AdapterContext, axis: number): void {
  const input = node.input(0);
  const output = node.output(0);
  const [shape, flat, result] = ["shape", "flat", "result"].map((part) =>
    graph.uniqueName(`${output}_${part}`),
  );
  graph.addNode({ opType: "Shape", inputs: [input], outputs: [shape!] });
  graph.addNode({
    opType: "Flatten",
    inputs: [input],
    outputs: [flat!],
    attributes: { axis: { int: axis } },
  });
  graph.setInput(node, 0, flat!);
  node.setAttribute("axis", { int: -1 });
  graph.setOutputs(node, [result!]);
  graph.addNode({ opType: "Reshape", inputs: [result!, shape!], outputs: [output] });
}

export const adaptersTo13: readonly OpsetAdapter[] = [
  upsample9,
  batchNormalization9,
  refusal("Scan", 9, "its batch axis went away"),
  slice10,
  topK10,
  upsample10,
  resize11,
  clip11,
  pad11,
  scatter11,
  dropout12,
  intsToInput("Squeeze", 13, "axes", { isOptional: true }),
  intsToInput("Unsqueeze", 13, "axes"),
  intsToInput("ReduceSum", 13, "axes", { isOptional: true }),
  intsToInput("Split", 13, "split", { isOptional: true }),
  lastAxis13("Softmax"),
  lastAxis13("LogSoftmax"),
  lastAxis13("Hardmax"),
];
