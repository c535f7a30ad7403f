/**
 * Replaces what is computed from constants alone by its result, so that later passes see weights and
 * shapes as the constants they are. onnxruntime itself computes the results, on a model made of just
 * those nodes: they are the numbers that it would compute when it loads the source.
 *
 * 1. Nodes that read only constants, directly or through other such nodes, become initializers of what
 *    the rest of the graph reads of them.
 * 2. Shape of a value whose dims are all fixed becomes an int64 vector, without running anything.
 *
 * What stays: random operators, DequantizeLinear (behind it lies the small form of a weight), nodes with
 * graphs inside, what the graph yields itself, values of NaN or text, and results that
 * would make the file larger: a result may be `growthBytesMax` bigger than the initializers that
 * vanish for it, which stops Expand, Tile and ConstantOfShape.
 *
 * Without a workbench, or when the runtime cannot compute the nodes, only case 2 is done; the report
 * says so.
 */
import { z } from "zod";
import { makeGraph, makeModel } from "../../onnx/build.ts";
import { dataTypes } from "../../onnx/data-type.ts";
import type { Graph } from "../../onnx/graph.ts";
import type { Model } from "../../onnx/model.ts";
import type { Node } from "../../onnx/node.ts";
import { encodeModel } from "../../onnx/proto.ts";
import { intTensor, makeTensor, tensorBytes, tensorFloats } from "../../onnx/tensor.ts";
import type { Outputs, TensorValue, Workbench } from "../execute.ts";
import { definePass, exactTolerance, type PassResult } from "../pass.ts";

/** Results that differ each time, and operators that hold a weight in its small form. */
const keptOps = new Set(
  ["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial"].concat([
    "Bernoulli",
    "Dropout",
    "DequantizeLinear",
    "Constant",
  ]),
);

export const foldConstants = definePass({
  name: "fold-constants",
  summary: "Computes what hangs on constants alone, and keeps the results as constants.",
  options: z.strictObject({
    /** How many bytes one result may add to the file. */
    growthBytesMax: z.int().min(0).default(1024),
  }),
  tolerance: exactTolerance,
  async run({ workbench }, model, { growthBytesMax }) {
    const { graph } = model;
    const shapes = foldShapes(graph);
    const nodes = constantNodes(graph);
    if (nodes.length === 0) return result(shapes, 0, 0);
    const values = await evaluate(model, nodes, workbench);
    if (typeof values === "string") {
      const { modified, report } = result(shapes, 0, nodes.length);
      return { modified, report: { ...report, skipped: values } };
    }
    const chosen = chooseFolded(graph, nodes, values, growthBytesMax);
    for (const { node, stored } of chosen) {
      graph.removeNode(node);
      for (const name of node.outputs) graph.setInfo(name, undefined);
      for (const name of stored) graph.setInitializer(tensorOf(name, values.get(name)!));
    }
    removeUnread(graph, chosen);
    return result(shapes, chosen.length, nodes.length - chosen.length);
  },
});

function result(shapes: number, folded: number, left: number): PassResult {
  return { modified: shapes + folded > 0, report: { folded, shapes, left } };
}

/** A node whose results are kept in its place. */
interface FoldedNode {
  readonly node: Node;
  /** Results that something else reads. */
  readonly stored: readonly string[];
}

/** Case 2. Returns how many nodes that were. */
function foldShapes(graph: Graph): number {
  let folded = 0;
  for (const node of graph.nodes) {
    if (!node.is("Shape") || graph.isOutput(node.output(0))) continue;
    const shape = fixedShape(graph, node.input(0));
    if (shape === undefined) continue;
    const end = node.int("end", shape.length);
    graph.removeNode(node);
    graph.setInfo(node.output(0), undefined);
    graph.setInitializer(intTensor(node.output(0), shape.slice(node.int("start", 0), end)));
    folded++;
  }
  return folded;
}

/** What a file says of a value in the middle holds for all inputs only where those are fixed too. */
function fixedShape(graph: Graph, name: string): number[] | undefined {
  const isGiven = graph.isInput(name) || graph.initializers.has(name);
  const sources = isGiven ? [name] : [name, ...graph.inputNames];
  const shapes = sources.map((source) => graph.declaredShape(source));
  const isFixed = shapes.every((shape) => shape?.every((dim) => typeof dim === "number"));
  return isFixed ? (shapes[0] as number[]) : undefined;
}

/** In topological order. */
function constantNodes(graph: Graph): Node[] {
  const made = new Set<string>();
  const isConstant = (name: string): boolean =>
    name === "" || made.has(name) || graph.constant(name) !== undefined;
  return graph.sortedNodes().filter((node) => {
    const isFoldable =
      node.domain === "" &&
      !keptOps.has(node.opType) &&
      !node.hasSubgraphs &&
      node.inputs.length > 0 &&
      !node.outputs.some((name) => graph.isOutput(name)) &&
      node.inputs.every(isConstant);
    if (isFoldable) for (const name of node.outputs) made.add(name);
    return isFoldable;
  });
}

/** All results of the nodes, or why there are none. */
async function evaluate(
  model: Model,
  nodes: readonly Node[],
  workbench: Workbench | undefined,
): Promise<Outputs | string> {
  if (workbench === undefined) return "there is no runtime at hand";
  const read = new Set(nodes.flatMap(({ inputs }) => inputs));
  const names = nodes.flatMap(({ outputs }) => outputs.filter((name) => name !== ""));
  const graph = makeGraph({
    nodes: nodes.map(({ proto }) => proto),
    inputs: [],
    // The runtime knows the types; the file may not.
    outputs: names.map((name) => ({ name, metadataProps: [] })),
    initializers: [...model.graph.initializers.values()].filter(({ name }) => read.has(name!)),
  });
  try {
    const loaded = await workbench.load(encodeModel(makeModel({ opset: model.opset, graph })));
    try {
      return await loaded.run(new Map());
    } finally {
      await loaded.close();
    }
  } catch (cause) {
    // Types that cannot be handed over, or arithmetic that fails: the model may still run without it.
    return `the runtime cannot compute them: ${cause instanceof Error ? cause.message : cause}`;
  }
}

/** Which nodes to replace, in topological order. */
function chooseFolded(
  graph: Graph,
  nodes: readonly Node[],
  values: Outputs,
  growthBytesMax: number,
): FoldedNode[] {
  const candidates = new Set(nodes);
  const claimed = new Set<string>();
  const chosen: FoldedNode[] = [];
  // Readers come before what they read, so it is known by then which of them stay.
  for (const node of nodes.toReversed()) {
    const stored = node.outputs.filter((name) =>
      graph.consumersOf(name).some((reader) => !candidates.has(reader)),
    );
    if (stored.length > 0) {
      const freed = exclusiveInitializers(graph, node, candidates).filter(
        (name) => !claimed.has(name),
      );
      const growth = sumOf(stored, (name) => storedBytes(values.get(name)));
      if (growth > growthBytesMax + sumOf(freed, (name) => initializerBytes(graph, name))) {
        candidates.delete(node);
        continue;
      }
      for (const name of freed) claimed.add(name);
    }
    chosen.push({ node, stored });
  }
  return chosen.reverse();
}

function sumOf(names: readonly string[], bytesOf: (name: string) => number): number {
  return names.reduce((sum, name) => sum + bytesOf(name), 0);
}

/** 0 for text, which cannot be measured. */
function initializerBytes(graph: Graph, name: string): number {
  return graph.declaredType(name) === undefined ? 0 : tensorBytes(graph.initializers.get(name)!);
}

/** Initializers behind a node that nothing but candidates reads. */
function exclusiveInitializers(
  graph: Graph,
  node: Node,
  candidates: ReadonlySet<Node>,
): readonly string[] {
  const found = new Set<string>();
  const seen = new Set<Node>();
  const pending = [node];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (seen.has(next)) continue;
    seen.add(next);
    for (const name of next.inputs) {
      const producer = graph.producerOf(name);
      if (producer !== undefined) pending.push(producer);
      else if (name !== "" && isReadOnlyBy(graph, name, candidates)) found.add(name);
    }
  }
  return [...found];
}

function isReadOnlyBy(graph: Graph, name: string, nodes: ReadonlySet<Node>): boolean {
  return !graph.isOutput(name) && graph.consumersOf(name).every((reader) => nodes.has(reader));
}

/** Infinite for what cannot be kept: text, and NaN, which the checker refuses. */
function storedBytes(value: TensorValue | undefined): number {
  if (value === undefined || !(value.type in dataTypes)) return Number.POSITIVE_INFINITY;
  const tensor = tensorOf("value", value);
  if (dataTypes[value.type].isFloat && tensorFloats(tensor).some(Number.isNaN)) {
    return Number.POSITIVE_INFINITY;
  }
  return tensorBytes(tensor);
}

function tensorOf(name: string, { type, shape, data }: TensorValue) {
  return makeTensor({ name, type, shape, data: data as Float32Array });
}

function removeUnread(graph: Graph, folded: readonly FoldedNode[]): void {
  for (const { node } of folded) {
    for (const name of node.inputs) {
      if (name === "" || graph.consumersOf(name).length > 0) continue;
      if (!graph.isOutput(name)) graph.removeInitializer(name);
    }
  }
}
