/**
 * Every operator whose meaning or form changed between operator sets 13 and 21.
 * Source: ONNX, docs/Changelog.md, versions 14 to 21.
 */
import { intTensor } from "../../onnx/tensor.ts";
import { cannotConvert, intsToInput, type OpsetAdapter, refusal } from "./adapter.ts";

/** BatchNormalization 14 says by an attribute whether it trains; before, more than one output did. */
const batchNormalization14: OpsetAdapter = {
  opType: "BatchNormalization",
  version: 14,
  convert({ graph, node }) {
    const isRead = (name: string): boolean =>
      graph.consumersOf(name).length > 0 || graph.isOutput(name);
    if (node.outputs.slice(1).some(isRead)) throw cannotConvert(node, "it trains");
    if (node.outputs.length > 1) graph.setOutputs(node, node.outputs.slice(0, 1));
  },
};

/** RoiAlign 16 shifts its regions by half a pixel unless told otherwise. */
const roiAlign16: OpsetAdapter = {
  opType: "RoiAlign",
  version: 16,
  convert({ node }) {
    node.setAttribute("coordinate_transformation_mode", { string: "output_half_pixel" });
  },
};

/** Split 18 without lengths names the number of parts. */
const split18: OpsetAdapter = {
  opType: "Split",
  version: 18,
  convert({ node }) {
    if (node.input(1) !== "") return;
    node.setAttribute("num_outputs", { int: node.outputs.length });
  },
};

/** GridSample 20 names its modes by what they do in any number of dims. */
const gridSample20: OpsetAdapter = {
  opType: "GridSample",
  version: 20,
  convert({ node }) {
    const mode = node.string("mode", "bilinear");
    const names: Readonly<Record<string, string>> = { bilinear: "linear", bicubic: "cubic" };
    node.setAttribute("mode", { string: names[mode] ?? mode });
  },
};

/** DFT 20: axis becomes input 2, and its default changes from 1 to -2. */
const dft20: OpsetAdapter = {
  opType: "DFT",
  version: 20,
  convert({ graph, node }) {
    const axis = node.int("axis", 1);
    node.removeAttribute("axis");
    const name = graph.uniqueName(`${node.output(0)}_axis`);
    graph.setInput(node, 2, graph.setInitializer(intTensor(name, [axis], [])));
  },
};

/** ReduceSum took its axes as an input in 13; the other reductions followed in 18. */
const reductions18 = [
  "ReduceL1",
  "ReduceL2",
  "ReduceLogSum",
  "ReduceLogSumExp",
  "ReduceMax",
].concat(["ReduceMean", "ReduceMin", "ReduceProd", "ReduceSumSquare"]);

export const adaptersTo21: readonly OpsetAdapter[] = [
  batchNormalization14,
  roiAlign16,
  split18,
  ...reductions18.map((opType) => intsToInput(opType, 18, "axes", { isOptional: true })),
  gridSample20,
  dft20,
  refusal("GroupNormalization", 21, "its factors are per group"),
];
