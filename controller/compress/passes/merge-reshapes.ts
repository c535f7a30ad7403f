/**
 * Leaves out Reshapes that other ones undo, which `matmul-add-to-gemm` and exporters write around every
 * matrix product of a transformer. What they move are the same numbers in the same order.
 *
 * A value x [.., K] of more than two dims has a flat form [M, K], of which one is the Reshape of the other.
 * 1. Reshape(x) to [M, K], where a flat form is there already → that one.
 * 2. Reshape(Reshape(z)) → Reshape(z), by the shape of the outer one.
 * 3. An operator that treats each row along the last axis by itself (`keepsRows`), on values of one shape,
 *    one of which is the Reshape of its flat form → the operator on the flat forms, which are made where there
 *    is none, and Reshape of its output; constants are vectors or scalars. So a Reshape moves on until
 *    something needs the dims.
 * Reshapes that nothing reads then go. A model in which they do not become fewer stays as it is.
 */
import type { Dim, Graph } from "../../onnx/graph.ts";
import type { Model } from "../../onnx/model.ts";
import type { Node } from "../../onnx/node.ts";
import { factOf } from "../../onnx/ops/registry.ts";
import { tensorNumbers } from "../../onnx/tensor.ts";
import { inferLengths, type LengthsOf } from "../infer-shapes.ts";
import { addInts } from "../opset/adapter.ts";
import { counted, definePass, exactTolerance, noOptions } from "../pass.ts";
import { constantShape } from "../reshape.ts";

/** Softmax works along one axis since; before, on what is flattened from its axis on. */
const opsetMin = 13;

export const mergeReshapes = definePass({
  name: "merge-reshapes",
  summary: "Removes reshapes that undo one another around matrix products.",
  options: noOptions,
  tolerance: exactTolerance,
  async run({ workbench }, model) {
    const before = reshapesOf(model).length;
    if (before < 2 || model.opset < opsetMin) return counted("merged", 0, { left: before });
    const merged = model.clone();
    sweepOver(merged, await inferLengths(model, workbench));
    const left = reshapesOf(merged).length;
    if (left >= before) return counted("merged", 0, { left: before });
    model.replaceWith(merged);
    return counted("merged", before - left, { left });
  },
});

interface Sweep {
  readonly graph: Graph;
  readonly lengthsOf: LengthsOf;
  /** The flat form of a value of more dims. */
  readonly flat: Map<string, string>;
}

function reshapesOf({ graph }: Model): Node[] {
  return graph.sortedNodes().filter((node) => node.is("Reshape"));
}

function sweepOver(model: Model, lengthsOf: LengthsOf): void {
  const { graph } = model;
  const sweep: Sweep = { graph, lengthsOf, flat: new Map() };
  for (const node of graph.sortedNodes()) {
    if (node.is("Reshape")) mergeReshape(sweep, node);
    else moveBehind(sweep, node);
  }
  for (const node of reshapesOf(model).reverse()) dropUnread(graph, node);
}

/** Cases 1 and 2; notes flat forms. */
function mergeReshape({ graph, lengthsOf, flat }: Sweep, node: Node): void {
  const [input, output] = [node.input(0), node.output(0)];
  const [from, to] = [lengthsOf(input), lengthsOf(output)];
  const isFlattening = areRows(from, to);
  const known = flat.get(input);
  if (isFlattening && known !== undefined && !graph.isOutput(output)) {
    graph.removeNode(node);
    graph.replaceUses(output, known);
    return;
  }
  if (isFlattening) flat.set(input, output);
  if (areRows(to, from)) flat.set(output, input);
  const inner = graph.producerOf(input);
  if (inner?.is("Reshape") && readsNoDims(graph, node, to)) graph.setInput(node, 0, inner.input(0));
}

/** True for [.., K] of more than two dims and [M, K]. */
function areRows(dims: readonly Dim[] | undefined, flat: readonly Dim[] | undefined): boolean {
  if (dims === undefined || flat?.length !== 2 || dims.length <= 2) return false;
  return typeof flat[1] === "number" && dims.at(-1) === flat[1];
}

/** True when the target shape copies no length of the input, or could be made so. */
function readsNoDims(graph: Graph, node: Node, to: readonly Dim[] | undefined): boolean {
  const target = graph.constant(node.input(1));
  if (target === undefined) return false;
  if (!tensorNumbers(target).some((length) => Number(length) === 0)) return true;
  const shape = constantShape(graph, `${node.output(0)}_shape`, to);
  if (shape === undefined) return false;
  graph.setInput(node, 1, shape);
  return true;
}

/** Case 3. */
function moveBehind(sweep: Sweep, node: Node): void {
  const { graph, lengthsOf, flat } = sweep;
  const [output, ...others] = node.outputs;
  const dims = output === undefined ? undefined : lengthsOf(output);
  if (output === undefined || dims === undefined || others.some((name) => name !== "")) return;
  if (dims.length <= 2 || typeof dims.at(-1) !== "number") return;
  if (factOf(node)?.keepsRows?.(node, dims.length) !== true) return;
  const values = [...new Set(node.inputs)].filter((name) => !isVector(graph, name));
  const back = values
    .map((name) => graph.producerOf(name))
    .find((each) => each?.is("Reshape") && each.input(0) === flat.get(each.output(0)));
  if (back === undefined || !haveRowsOf(values.map(lengthsOf), dims)) return;
  const inputs = node.inputs.map((name) => (isVector(graph, name) ? name : rowsOf(sweep, name)));
  const rows = graph.uniqueName(`${output}_flat`);
  graph.removeNode(node);
  graph.addNode({
    ...(node.name === "" ? {} : { name: node.name }),
    opType: node.opType,
    domain: node.domain,
    inputs,
    outputs: [rows],
    // Along the last axis, which is what an absent axis means.
    copiedAttributes: node.proto.attribute.filter(({ name }) => name !== "axis"),
  });
  graph.addNode({ opType: "Reshape", inputs: [rows, back.input(1)], outputs: [output] });
  flat.set(output, rows);
}

/** Absent inputs, scalars and vectors mean the same for rows of whatever leading dims. */
function isVector(graph: Graph, name: string): boolean {
  return name === "" || (graph.constant(name)?.dims.length ?? Number.POSITIVE_INFINITY) <= 1;
}

/** True when values have the rows of an output [.., K]: one alone by its rank and K, several by their names. */
function haveRowsOf(
  values: readonly (readonly Dim[] | undefined)[],
  dims: readonly Dim[],
): boolean {
  return values.every((lengths) => {
    if (lengths?.length !== dims.length || lengths.at(-1) !== dims.at(-1)) return false;
    return values.length === 1 || dims.every((dim, at) => dim !== null && dim === lengths[at]);
  });
}

/** The flat form of a value, made where there is none. */
function rowsOf({ graph, lengthsOf, flat }: Sweep, name: string): string {
  const known = flat.get(name);
  if (known !== undefined) return known;
  const rows = graph.uniqueName(`${name}_flat`);
  const shape = addInts(graph, `${rows}_shape`, [-1, Number(lengthsOf(name)!.at(-1))]);
  graph.addNode({ opType: "Reshape", inputs: [name, shape], outputs: [rows] });
  flat.set(name, rows);
  return rows;
}

function dropUnread(graph: Graph, node: Node): void {
  const [output, shape] = [node.output(0), node.input(1)];
  if (graph.consumersOf(output).length > 0 || graph.isOutput(output)) return;
  graph.removeNode(node);
  graph.setInfo(output, undefined);
  if (graph.constant(shape) !== undefined && graph.consumersOf(shape).length === 0) {
    graph.removeInitializer(shape);
  }
}
