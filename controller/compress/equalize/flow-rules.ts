/**
 * How factors per channel pass each operator. A rule sees a node whose inputs were swept before it and
 * says what becomes of its outputs; an operator without a rule, and a rule that returns false, pins the
 * factors of what the node reads to 1. One line adds an operator.
 *
 * Rules for shapes take constants only: a target shape that is computed pins.
 */
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import { factOf } from "../../onnx/ops/registry.ts";
import type { TensorProto } from "../../onnx/schema.ts";
import { tensorElements, tensorFloats, tensorNumbers, tensorShape } from "../../onnx/tensor.ts";
import { takeGate } from "./gate.ts";
import type { ScaleSweep } from "./scale-sweep.ts";
import { fitsAxis, type ScaledValue } from "./scaled-value.ts";

/** Returns false when the node does not let factors pass. */
type FlowRule = (sweep: ScaleSweep, node: Node) => boolean;

/** Sweeps one node. */
export function sweepNode(sweep: ScaleSweep, node: Node): void {
  for (const name of node.captured) sweep.pin(sweep.valueOf(name));
  if (sweep.throughGates && takeGate(sweep, node)) return;
  const rule = node.domain === "" ? flowRules[node.opType] : undefined;
  if (rule?.(sweep, node) === true) return;
  for (const name of node.inputs) sweep.pin(sweep.valueOf(name));
}

/** Case 1: W·x + b. */
const linear: FlowRule = (sweep, node) => {
  const { graph } = sweep;
  const fact = factOf(node)?.weight;
  const weight = fact === undefined ? undefined : floatConstant(graph, node.input(fact.input));
  if (fact === undefined || weight === undefined || node.int("transA", 0) !== 0) return false;
  const shape = tensorShape(weight);
  const layout = fact.layout(node, shape);
  if (layout === undefined) return false;
  const axisFromEnd = fact.channelsLast === true ? 1 : shape.length - 1;
  const features = layout.axis === 0 ? shape[1]! * node.int("group", 1) : shape[0]!;
  const input = sweep.valueOf(node.input(0));
  const fits = input?.axisFromEnd === axisFromEnd && fitsAxis(input, features);
  if (!fits) sweep.pin(input);
  const outputs = layout.groups * layout.channels;
  const isScalable = hasPlainBias(graph, node.input(fact.bias ?? -1), outputs);
  const output = isScalable ? sweep.fresh(outputs, axisFromEnd) : undefined;
  if (output !== undefined) sweep.set(node.output(0), output);
  sweep.linear({ node, fact, layout, input: fits ? input : undefined, output });
  return true;
};

/** Case 2. */
const layerNormalization: FlowRule = (sweep, node) => {
  const { graph } = sweep;
  sweep.pin(sweep.valueOf(node.input(0)));
  const scale = floatConstant(graph, node.input(1));
  const isAbsent = node.input(2) === "";
  if (scale?.dims.length !== 1 || !(isAbsent || floatConstant(graph, node.input(2)))) return true;
  const rank = sweep.ranks.get(node.input(0));
  const axis = node.int("axis", -1);
  if (axis !== -1 && axis + 1 !== rank) return true;
  const value = sweep.fresh(Number(scale.dims[0]), 1);
  sweep.constant({ node, input: 1, value });
  if (!isAbsent) sweep.constant({ node, input: 2, value });
  sweep.normalisation(node);
  sweep.set(node.output(0), value);
  return true;
};

/** Case 3: f(x / s) = f(x) / s for s > 0, each channel by itself. */
const homogeneous: FlowRule = (sweep, node) => {
  if (node.inputs.slice(1).some((name) => sweep.valueOf(name) !== undefined)) return false;
  const value = sweep.valueOf(node.input(0));
  if (value !== undefined) sweep.set(node.output(0), value);
  return true;
};

/** Says nothing of the values. */
const shapeOnly: FlowRule = () => true;

const resize: FlowRule = (sweep, node) =>
  node.string("coordinate_transformation_mode", "") !== "tf_crop_and_resize" &&
  homogeneous(sweep, node);

/** Padding with 0 keeps 0; the channels themselves must not be padded. */
const pad: FlowRule = (sweep, node) => {
  const value = sweep.valueOf(node.input(0));
  if (value === undefined) return true;
  const pads = node.ints("pads", undefined) ?? numbers(sweep.graph, node.input(1));
  const filler =
    node.input(2) === "" ? [node.float("value", 0)] : numbers(sweep.graph, node.input(2));
  if (pads === undefined || filler?.[0] !== 0 || node.input(3) !== "") return false;
  const rank = pads.length / 2;
  const axis = rank - value.axisFromEnd;
  return pads[axis] === 0 && pads[axis + rank] === 0 && homogeneous(sweep, node);
};

/** Cuts along other axes than that of the channels. */
const slice: FlowRule = (sweep, node) => {
  const value = sweep.valueOf(node.input(0));
  if (value === undefined) return true;
  const axes = axesOf(sweep, node, 3);
  const axis = axisOf(sweep, node.input(0), value);
  if (axes === undefined || axis === undefined || axes.includes(axis)) return false;
  return homogeneous(sweep, node);
};

const reduce: FlowRule = (sweep, node) => {
  const value = sweep.valueOf(node.input(0));
  if (value === undefined) return true;
  const axes = axesOf(sweep, node, 1);
  const axis = axisOf(sweep, node.input(0), value);
  if (axes === undefined || axis === undefined || axes.includes(axis)) return false;
  if (value.spread !== "none") return false;
  const dropped = node.int("keepdims", 1) === 1 ? 0 : axes.filter((each) => each > axis).length;
  sweep.set(node.output(0), { ...value, axisFromEnd: value.axisFromEnd - dropped });
  return true;
};

const squeeze: FlowRule = (sweep, node) => {
  const value = sweep.valueOf(node.input(0));
  if (value === undefined) return true;
  const axes = axesOf(sweep, node, 1);
  const axis = axisOf(sweep, node.input(0), value);
  if (axes === undefined || axis === undefined || axes.includes(axis)) return false;
  const dropped = axes.filter((each) => each > axis).length;
  sweep.set(node.output(0), { ...value, axisFromEnd: value.axisFromEnd - dropped });
  return true;
};

const transpose: FlowRule = (sweep, node) => {
  const value = sweep.valueOf(node.input(0));
  if (value === undefined) return true;
  const perm = node.ints("perm", undefined);
  if (perm === undefined) return false;
  const to = perm.indexOf(perm.length - value.axisFromEnd);
  if (to < 0) return false;
  sweep.set(node.output(0), { ...value, axisFromEnd: perm.length - to });
  return true;
};

const flatten: FlowRule = (sweep, node) => {
  const value = sweep.valueOf(node.input(0));
  return value === undefined || (node.int("axis", 1) === 1 && flattened(sweep, node, value));
};

/** A Reshape to [N, K] that does what Flatten would. */
const reshape: FlowRule = (sweep, node) => {
  const value = sweep.valueOf(node.input(0));
  if (value === undefined) return true;
  const target = numbers(sweep.graph, node.input(1));
  if (target?.length !== 2) return false;
  const shape = sweep.graph.declaredShape(node.input(0));
  const features = shape?.slice(1).reduce<number>((all, dim) => all * Number(dim ?? Number.NaN), 1);
  const isPooled = sweep.graph.producerOf(node.input(0))?.is("GlobalAveragePool") === true;
  const keepsBatch = target[0] === 0 || target[0] === 1 || features === target[1];
  const isFlat = keepsBatch || (isPooled && target[1] === value.variables.length);
  return isFlat && flattened(sweep, node, value);
};

/** From [N, C, …] or […, C] to [N, K]. */
function flattened(sweep: ScaleSweep, node: Node, value: ScaledValue): boolean {
  const isFirst = axisOf(sweep, node.input(0), value) === 1;
  if (value.spread !== "none" || !(isFirst || value.axisFromEnd === 1)) return false;
  const spread = value.axisFromEnd === 1 ? "cycles" : "blocks";
  sweep.set(node.output(0), { ...value, axisFromEnd: 1, spread });
  return true;
}

const concat: FlowRule = (sweep, node) => {
  const values = node.inputs.map(sweep.valueOf);
  const [first] = values;
  if (values.every((value) => value === undefined)) return true;
  const rank = sweep.ranks.get(node.input(0));
  const axis = node.int("axis", 0);
  const axisFromEnd = axis < 0 ? -axis : (rank ?? Number.NaN) - axis;
  const isAlike = (value: ScaledValue | undefined): value is ScaledValue =>
    value?.axisFromEnd === first?.axisFromEnd && value?.spread === "none";
  if (first === undefined || !values.every(isAlike) || Number.isNaN(axisFromEnd)) return false;
  if (axisFromEnd === first.axisFromEnd) {
    const variables = Int32Array.from(values.flatMap((value) => [...value.variables]));
    sweep.set(node.output(0), { ...first, variables });
    return true;
  }
  if (values.some((value) => value.variables.length !== first.variables.length)) return false;
  for (const value of values.slice(1)) sweep.join(first, value);
  sweep.set(node.output(0), first);
  return true;
};

const split: FlowRule = (sweep, node) => {
  const value = sweep.valueOf(node.input(0));
  if (value === undefined) return true;
  const rank = sweep.ranks.get(node.input(0));
  const axis = node.int("axis", 0);
  const axisFromEnd = axis < 0 ? -axis : (rank ?? Number.NaN) - axis;
  if (Number.isNaN(axisFromEnd) || value.spread !== "none") return false;
  if (axisFromEnd !== value.axisFromEnd) {
    for (const name of node.outputs) sweep.set(name, value);
    return true;
  }
  const sizes = node.ints("split", undefined) ?? numbers(sweep.graph, node.input(1));
  if (sizes?.length !== node.outputs.length) return false;
  let from = 0;
  node.outputs.forEach((name, at) => {
    const to = from + sizes[at]!;
    sweep.set(name, { ...value, variables: value.variables.slice(from, to) });
    from = to;
  });
  return true;
};

/** Case 4: sums. */
const sum: FlowRule = (sweep, node) => {
  const [left, right] = [sweep.valueOf(node.input(0)), sweep.valueOf(node.input(1))];
  if (left !== undefined && right !== undefined) {
    const isAlike =
      left.axisFromEnd === right.axisFromEnd &&
      left.spread === right.spread &&
      left.variables.length === right.variables.length;
    if (!isAlike) return false;
    sweep.join(left, right);
    sweep.set(node.output(0), left);
    return true;
  }
  const value = left ?? right;
  if (value === undefined) return true;
  const input = left === undefined ? 0 : 1;
  const constant = floatConstant(sweep.graph, node.input(input));
  if (constant === undefined || !isDivisible(constant, value)) return false;
  sweep.constant({ node, input, value });
  sweep.set(node.output(0), value);
  return true;
};

/** Case 4: products; and a scale per channel behind something that has no factors (case 2). */
const product: FlowRule = (sweep, node) => {
  const [left, right] = [sweep.valueOf(node.input(0)), sweep.valueOf(node.input(1))];
  if (left !== undefined && right !== undefined) return false;
  const value = left ?? right;
  // A single channel may be stretched to many by what it is multiplied with.
  if (value !== undefined && value.variables.length > 1) sweep.set(node.output(0), value);
  else if (value === undefined) scaleVector(sweep, node);
  return value === undefined || value.variables.length > 1;
};

function scaleVector(sweep: ScaleSweep, node: Node): void {
  const input = [0, 1].find((at) => floatConstant(sweep.graph, node.input(at))?.dims.length === 1);
  if (input === undefined || sweep.graph.constant(node.input(1 - input)) !== undefined) return;
  const channels = tensorElements(sweep.graph.constant(node.input(input))!);
  if (channels === 1) return;
  const value = sweep.fresh(channels, 1);
  sweep.constant({ node, input, value });
  sweep.normalisation(node);
  sweep.set(node.output(0), value);
}

const quotient: FlowRule = (sweep, node) =>
  sweep.valueOf(node.input(1)) === undefined &&
  (sweep.valueOf(node.input(0))?.variables.length ?? 2) > 1 &&
  homogeneous(sweep, node);

/** Rules by operator of ONNX's own set. */
const flowRules: Readonly<Record<string, FlowRule>> = {
  Conv: linear,
  ConvTranspose: linear,
  Gemm: linear,
  MatMul: linear,
  LayerNormalization: layerNormalization,
  Abs: homogeneous,
  AveragePool: homogeneous,
  Dropout: homogeneous,
  GlobalAveragePool: homogeneous,
  GlobalMaxPool: homogeneous,
  Identity: homogeneous,
  LeakyRelu: homogeneous,
  LpPool: homogeneous,
  MaxPool: homogeneous,
  PRelu: homogeneous,
  Relu: homogeneous,
  Upsample: homogeneous,
  Resize: resize,
  Pad: pad,
  Slice: slice,
  ReduceMax: reduce,
  ReduceMean: reduce,
  ReduceSum: reduce,
  Squeeze: squeeze,
  Transpose: transpose,
  Flatten: flatten,
  Reshape: reshape,
  Concat: concat,
  Split: split,
  Add: sum,
  Sub: sum,
  Mul: product,
  Div: quotient,
  Shape: shapeOnly,
  Size: shapeOnly,
};

function floatConstant(graph: Graph, name: string): TensorProto | undefined {
  const tensor = graph.constant(name);
  return graph.declaredType(name) === "float32" ? tensor : undefined;
}

function numbers(graph: Graph, name: string): number[] | undefined {
  const tensor = graph.constant(name);
  return tensor === undefined ? undefined : tensorNumbers(tensor);
}

/** Axes from the attribute or from input `at`, counted from the front; undefined when not known. */
function axesOf(sweep: ScaleSweep, node: Node, at: number): number[] | undefined {
  const axes = node.ints("axes", undefined) ?? numbers(sweep.graph, node.input(at));
  const rank = sweep.ranks.get(node.input(0));
  if (axes === undefined || rank === undefined) return undefined;
  return axes.map((axis) => (axis < 0 ? axis + rank : axis));
}

/** The channel axis counted from the front. */
function axisOf(sweep: ScaleSweep, name: string, value: ScaledValue): number | undefined {
  const rank = sweep.ranks.get(name);
  return rank === undefined ? undefined : rank - value.axisFromEnd;
}

/** No bias, or one value per output channel. */
function hasPlainBias(graph: Graph, name: string, channels: number): boolean {
  if (name === "") return true;
  const bias = floatConstant(graph, name);
  return bias?.dims.at(-1) === BigInt(channels) && tensorElements(bias) === channels;
}

/** Whether a constant operand can be divided channel by channel. */
function isDivisible(constant: TensorProto, value: ScaledValue): boolean {
  const shape = tensorShape(constant);
  const length = shape[shape.length - value.axisFromEnd] ?? 1;
  if (length === 1) return value.spread === "none";
  return fitsAxis(value, length) && tensorFloats(constant).length > 0;
}
