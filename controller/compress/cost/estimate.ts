/**
 * Estimates what a model costs on a processor from the table that was measured there, without running
 * the model there.
 *
 * 1. Conv, Gemm and MatMul: products · time per product of the timed operator of the same kind, read off
 *    between the two timed sizes around it (linear over the logarithm of the geometric mean of input and
 *    output channels). Channels count as in `channel-steps.ts`.
 * 2. Add, Mul and activations that stay: elements · time per element of an addition; poolings: as many
 *    additions as their windows have elements.
 * 3. QuantizeLinear at a model's start and between floats: elements · time per element.
 * Operators that move values and activations that the runtime fuses cost nothing here; what else there is
 * is named, so that nobody takes the sum for the whole.
 *
 * Invariant: pure; the same model, shapes and table give the same estimate.
 */
import type { Processor } from "../../../shared/devices/processor.ts";
import type { CostEntry, CostOperator, CostTable } from "../../../shared/inference/cost-table.ts";
import { elementTypes } from "../../onnx/element-types.ts";
import type { Graph } from "../../onnx/graph.ts";
import type { Model } from "../../onnx/model.ts";
import type { Node } from "../../onnx/node.ts";
import { factOf } from "../../onnx/ops/registry.ts";
import type { Unit } from "../emulate/unit.ts";
import { unitOf } from "../emulate/units.ts";
import { nodeLabel } from "../quantize/selection.ts";
import { type ChannelSteps, channelSteps } from "./channel-steps.ts";

/** Shapes by value name, initializers included; a value without one makes its node not covered. */
export type Shapes = ReadonlyMap<string, readonly number[]>;

export interface NodeCost {
  /** Name of the node, or of its output where it has none. */
  readonly node: string;
  readonly operator: CostOperator;
  readonly type: CostEntry["type"];
  readonly timeNs: number;
}

export interface CostEstimate {
  readonly timeNs: number;
  readonly nodes: readonly NodeCost[];
  /** Nodes that the table says nothing of: `operator name`. */
  readonly notCovered: readonly string[];
}

/** Undefined for a table without the sizes that it takes. */
export function estimateCost(
  model: Model,
  shapes: Shapes,
  { table, processor }: { readonly table: CostTable; readonly processor: Processor },
): CostEstimate | undefined {
  const steps = channelSteps(table);
  if (steps === undefined) return undefined;
  const { graph } = model;
  const types = elementTypes(graph);
  const order = graph.sortedNodes();
  const units = new Map<Node, Unit>();
  for (const node of order) {
    const unit = unitOf(graph, types, node, processor);
    if (unit !== undefined) units.set(node, unit);
  }
  const inUnits = new Set([...units.values()].flatMap((unit) => unit.nodes));
  const nodes: NodeCost[] = [];
  const notCovered: string[] = [];
  for (const node of order) {
    const unit = units.get(node);
    if (unit === undefined && (inUnits.has(node) || isFree(graph, node))) continue;
    const type = unit === undefined ? "float32" : "int8";
    const work = workOf(unit?.operator ?? node.opType, unit?.node ?? node, { shapes, steps, type });
    const timeNs = work === undefined ? undefined : timeOf(work, type, table);
    if (work === undefined || timeNs === undefined) {
      notCovered.push(`${node.opType} ${nodeLabel(node)}`);
    } else nodes.push({ node: nodeLabel(node), operator: work.operator, type, timeNs });
  }
  return { timeNs: nodes.reduce((sum, cost) => sum + cost.timeNs, 0), nodes, notCovered };
}

/** How much of a timed operator a node does. */
interface Work {
  readonly operator: CostOperator;
  /** Products, or elements. */
  readonly amount: number;
  /** Geometric mean of the channels in and out. */
  readonly channels: number;
  /** What the table's time is multiplied by. */
  readonly factor: number;
}

interface Known {
  readonly shapes: Shapes;
  readonly steps: ChannelSteps;
  readonly type: CostEntry["type"];
}

type WorkRule = (node: Node, known: Known) => Work | undefined;

const rules: Readonly<Record<string, WorkRule>> = {
  Conv: convWork,
  Gemm: matrixWork,
  MatMul: matrixWork,
  Add: (node, known) => elementWork("add", outputElements(node, known)),
  Mul: (node, known) => elementWork("add", outputElements(node, known)),
  QuantizeLinear: (node, known) => elementWork("quantize", elementsOf(node.input(0), known)),
  DequantizeLinear: (node, known) => elementWork("quantize", elementsOf(node.input(0), known)),
  GlobalAveragePool: (node, known) => elementWork("add", elementsOf(node.input(0), known)),
  AveragePool: poolWork,
  MaxPool: poolWork,
};

function workOf(operator: string, node: Node, known: Known): Work | undefined {
  return rules[operator]?.(node, known);
}

/**
 * Moves cost next to nothing, Relu and Clip are done by what they follow, and the runtime drops a pair of
 * conversions around a move.
 */
function isFree(graph: Graph, node: Node): boolean {
  const kind = factOf(node)?.quantization?.kind;
  if (kind === "absorbed" || (kind === "moved" && rules[node.opType] === undefined)) return true;
  const isMove = (other: Node | undefined): boolean =>
    other !== undefined && factOf(other)?.quantization?.kind === "moved";
  if (node.is("QuantizeLinear")) return isMove(graph.producerOf(node.input(0)));
  return node.is("DequantizeLinear") && isMove(graph.onlyConsumerOf(node.output(0)));
}

function convWork(node: Node, known: Known): Work | undefined {
  const weight = weightShape(node, known);
  const output = outputElements(node, known);
  if (weight === undefined || output === undefined) return undefined;
  const [outputs, inputs, ...kernel] = weight as [number, number, ...number[]];
  const groups = node.int("group", 1);
  const positions = kernel.reduce((product, length) => product * length, 1);
  const pixels = output / outputs;
  if (inputs === 1 && groups === outputs) {
    const amount = pixels * outputs * positions;
    return { operator: "depthwise-3x3", amount, channels: outputs, factor: 1 };
  }
  const { float32Multiple, int8Multiple, int8UnalignedFactor } = known.steps;
  const isFloat = known.type === "float32";
  const block = isFloat ? float32Multiple : int8Multiple;
  // The first convolution's few input channels are not padded (ReorderInput is not done for them).
  const [countedIn, countedOut] = [
    isFloat && inputs < block ? inputs : upTo(inputs, block),
    upTo(outputs / groups, block),
  ];
  return {
    operator: positions === 1 ? "conv-1x1" : "conv-3x3",
    amount: pixels * positions * countedIn * countedOut * groups,
    channels: Math.sqrt(countedIn * countedOut),
    factor: isFloat || inputs % int8Multiple === 0 ? 1 : int8UnalignedFactor,
  };
}

function matrixWork(node: Node, known: Known): Work | undefined {
  const weight = weightShape(node, known);
  const output = outputElements(node, known);
  if (weight?.length !== 2 || output === undefined) return undefined;
  const isTransposed = node.int("transB", 0) === 1;
  const depth = weight[isTransposed ? 1 : 0]!;
  const columns = weight[isTransposed ? 0 : 1]!;
  return {
    operator: "gemm",
    amount: output * depth,
    channels: Math.sqrt(depth * columns),
    factor: 1,
  };
}

function poolWork(node: Node, known: Known): Work | undefined {
  const output = outputElements(node, known);
  const window = node.ints("kernel_shape", []).reduce((product, length) => product * length, 1);
  return elementWork("add", output === undefined ? undefined : output * window);
}

function elementWork(operator: CostOperator, amount: number | undefined): Work | undefined {
  return amount === undefined ? undefined : { operator, amount, channels: amount, factor: 1 };
}

/** The shape of what a node multiplies by, seen through a DequantizeLinear of equal shape. */
function weightShape(node: Node, { shapes }: Known): readonly number[] | undefined {
  const isCoded = node.opType.startsWith("QLinear") || node.opType === "QGemm";
  return shapes.get(node.input(isCoded ? 3 : 1));
}

function outputElements(node: Node, known: Known): number | undefined {
  return elementsOf(node.output(0), known);
}

function elementsOf(name: string, { shapes }: Known): number | undefined {
  return shapes.get(name)?.reduce((product, length) => product * length, 1);
}

function upTo(count: number, multiple: number): number {
  return Math.ceil(count / multiple) * multiple;
}

/** Time of work from the two timed sizes around it; undefined when the operator was not timed. */
function timeOf(work: Work, type: CostEntry["type"], table: CostTable): number | undefined {
  const timed = table.entries
    // A conversion has one form for both.
    .filter((entry) => entry.operator === work.operator)
    .filter((entry) => entry.type === type || work.operator === "quantize")
    // Sizes beside a step of the kernels tell of the step, not of how time grows.
    .filter(({ channels }) => channels % 16 === 0 || channels < 16)
    .map((entry) => ({ at: Math.log(sizeOf(entry)), rate: entry.timeNs / amountOf(entry) }))
    .toSorted((a, b) => a.at - b.at);
  const first = timed[0];
  const last = timed.at(-1);
  if (first === undefined || last === undefined) return undefined;
  const at = Math.min(Math.max(Math.log(Math.max(work.channels, 1)), first.at), last.at);
  const above = timed.find((entry) => entry.at >= at) ?? last;
  const below = timed.findLast((entry) => entry.at <= at) ?? first;
  const share = above.at === below.at ? 0 : (at - below.at) / (above.at - below.at);
  return work.amount * (below.rate + share * (above.rate - below.rate)) * work.factor;
}

/** Products or elements of a timed operator. */
function amountOf({ operator, channels, pixels }: CostEntry): number {
  switch (operator) {
    case "conv-3x3":
      return 9 * channels * channels * pixels;
    case "conv-1x1":
      return channels * channels * pixels;
    case "depthwise-3x3":
      return 9 * channels * pixels;
    case "gemm":
      return channels * channels;
    case "add":
    case "quantize":
      return channels * pixels;
  }
}

/** What a timed size is found by: channels, or elements where only these count. */
function sizeOf({ operator, channels, pixels }: CostEntry): number {
  return operator === "add" || operator === "quantize" ? channels * pixels : channels;
}
