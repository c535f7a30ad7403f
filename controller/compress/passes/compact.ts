/**
 * Writes the same model in fewer bytes. On nets of a few thousand weights, names and repeated small
 * tensors are most of an int8 file. Outputs stay equal bit for bit, and so does what the runtime fuses.
 *
 * 1. A zero point [channels] that is zero throughout goes from DequantizeLinear of a constant (ONNX
 *    opset 10 DequantizeLinear: zero is the default). Activations keep theirs: onnxruntime drops a Relu
 *    in front of QuantizeLinear, and pairs of equal parameters, only where a zero point is given
 *    (relu_quantizelinear.cc, qdq_util.cc); so do operators whose fact says so.
 * 2. Attributes at their default go, and the kernel_shape of convolutions, which the weight tells.
 * 3. Initializers that nobody reads go; those with equal type, shape and data become one.
 * 4. Values and initializers get short names, the most used ones the shortest; graph inputs, graph
 *    outputs and what subgraphs define keep theirs. The names of nodes go, but of those that multiply,
 *    which get short ones and are listed with their old ones in the report.
 * 5. Integers are stored as the shorter of raw bytes and varints.
 * 6. What the file says of values in the middle, documentation, metadata, the producer, a training part,
 *    and operator sets that nothing uses go.
 *
 * Invariant: names are given in an order that they do not change, so a second run changes nothing.
 */
import { createHash } from "node:crypto";
import { dataTypeOfCode } from "../../onnx/data-type.ts";
import type { Graph } from "../../onnx/graph.ts";
import { Model } from "../../onnx/model.ts";
import { type Node, normalDomain } from "../../onnx/node.ts";
import { isDefaultAttribute } from "../../onnx/ops/attribute-defaults.ts";
import { factOf } from "../../onnx/ops/registry.ts";
import type {
  GraphProto,
  ModelProto,
  NodeProto,
  OperatorSetProto,
  TensorProto,
  ValueInfoProto,
} from "../../onnx/schema.ts";
import { allNames, type Renaming, renameInSubgraphs, subgraphsOf } from "../../onnx/subgraph.ts";
import { tensorData, tensorShape } from "../../onnx/tensor.ts";
import { shortestTensor } from "../../onnx/tensor-encoding.ts";
import { isMultiplying } from "../fusion-audit.ts";
import { definePass, exactTolerance, noOptions, type PassResult } from "../pass.ts";

/** Convolutions: kernel_shape, when absent, is that of the weight (ONNX opset 1 Conv). */
const convolutions: ReadonlySet<string> = new Set([
  "Conv",
  "ConvInteger",
  "ConvTranspose",
  "QLinearConv",
]);

export const compact = definePass({
  name: "compact",
  summary: "Writes the same model in fewer bytes: short names, equal weights once, no defaults.",
  options: noOptions,
  tolerance: exactTolerance,
  run(_context, model): PassResult {
    const before = model.encode();
    const { compacted, bytes, report } = compactModel(model);
    const modified = Buffer.compare(before, bytes) !== 0;
    if (modified) model.replaceWith(compacted);
    return {
      modified,
      report: { bytesBefore: before.length, bytesAfter: bytes.length, ...report },
    };
  },
});

/** The model as cases 1 to 6 leave it, its file, and what was merged, dropped and renamed. */
export function compactModel(model: Model) {
  const source = model.toProto();
  const { graph } = model;
  const sorted = graph.sortedNodes();
  const layers = layerNames(sorted);
  const nodes = sorted.map((node) => slimNode(node, graph, layers.get(node)));
  const kept = readInitializers(graph, nodes);
  const aliases = equalInitializers(graph, kept);
  const tensors = kept.filter((tensor) => !aliases.has(nameOf(tensor)));
  const names = shortNames(graph, nodes, tensors, aliases);
  const renamed: GraphProto = {
    name: "g",
    node: nodes.map((node) => renameNode(node, names)),
    initializer: tensors.map((tensor) =>
      shortestTensor(tensor, names.get(nameOf(tensor)) ?? nameOf(tensor)),
    ),
    sparseInitializer: source.graph!.sparseInitializer,
    input: graph.inputs.map(slimInfo),
    output: graph.outputs.map(slimInfo),
    valueInfo: [],
    quantizationAnnotation: [],
    metadataProps: [],
  };
  const compacted = Model.fromProto(slimModel(source, renamed));
  return {
    compacted,
    bytes: compacted.encode(),
    report: {
      mergedInitializers: aliases.size,
      droppedInitializers: graph.initializers.size - kept.length,
      layers: [...layers].map(([node, name]) => `${name}=${node.name}`),
    },
  };
}

// ── cases 1 and 2 ───────────────────────────────────────────────────────────────────────────────

function slimNode(node: Node, graph: Graph, name: string | undefined): NodeProto {
  const { proto } = node;
  const inputs = hasIdleZeroPoint(node, graph) ? node.inputs.slice(0, 2) : node.inputs;
  return {
    input: inputs.slice(0, inputs.findLastIndex((name) => name !== "") + 1),
    output: proto.output,
    ...(name === undefined ? {} : { name }),
    opType: node.opType,
    ...(node.domain === "" ? {} : { domain: node.domain }),
    ...(proto.overload === undefined ? {} : { overload: proto.overload }),
    attribute: proto.attribute.filter((attribute) => {
      const isTold = attribute.name === "kernel_shape" && convolutions.has(node.opType);
      return !isTold && !isDefaultAttribute(node, attribute);
    }),
    metadataProps: [],
    deviceConfigurations: proto.deviceConfigurations,
  };
}

function hasIdleZeroPoint(node: Node, graph: Graph): boolean {
  if (!node.is("DequantizeLinear") || graph.constant(node.input(0)) === undefined) return false;
  const zeroPoint = graph.constant(node.input(2));
  if (zeroPoint === undefined || !isReadable(zeroPoint) || needsZeroPoint(node, graph))
    return false;
  return tensorData(zeroPoint).every((value: number | bigint) => value === 0 || value === 0n);
}

/** True when the constant is the weight of an operator that fuses only with a zero point. */
function needsZeroPoint(dequantize: Node, graph: Graph): boolean {
  const name = dequantize.output(0);
  return graph.consumersOf(name).some((reader) => {
    const fact = factOf(reader);
    const role = fact?.quantization;
    if (role?.kind !== "linear" || role.needsWeightZeroPoint !== true) return false;
    return reader.input(fact!.weight!.input) === name;
  });
}

// ── case 3 ──────────────────────────────────────────────────────────────────────────────────────

function readInitializers(graph: Graph, nodes: readonly NodeProto[]): TensorProto[] {
  const read = new Set([...graph.inputNames, ...graph.outputNames]);
  for (const node of nodes) for (const name of node.input) read.add(name);
  for (const node of graph.nodes) for (const name of node.captured) read.add(name);
  return [...graph.initializers.values()].filter((tensor) => read.has(nameOf(tensor)));
}

/** Initializers that equal an earlier one, by name, with that one's name. */
function equalInitializers(graph: Graph, tensors: readonly TensorProto[]): Map<string, string> {
  const inner = tensors.filter((tensor) => {
    const name = nameOf(tensor);
    return !graph.isInput(name) && !graph.isOutput(name) && isReadable(tensor);
  });
  const aliases = new Map<string, string>();
  for (const alike of Map.groupBy(inner, typeAndShape).values()) {
    // Most large weights are the only ones of their shape, and need not be read.
    if (alike.length === 1) continue;
    for (const [first, ...others] of Map.groupBy(alike, contentHash).values()) {
      for (const other of others) aliases.set(nameOf(other), nameOf(first!));
    }
  }
  return aliases;
}

/** False for text and 8-bit floats, which have no typed array here. */
function isReadable(tensor: TensorProto): boolean {
  return dataTypeOfCode(tensor.dataType ?? 0) !== undefined;
}

function typeAndShape(tensor: TensorProto): string {
  return `${tensor.dataType}[${tensorShape(tensor)}]`;
}

function contentHash(tensor: TensorProto): string {
  const { buffer, byteOffset, byteLength } = tensorData(tensor);
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  return createHash("sha256").update(bytes).digest("base64");
}

// ── case 4 ──────────────────────────────────────────────────────────────────────────────────────

/**
 * A short name for every value that nobody outside the graph knows, by how often it is written; equal
 * counts in the order of the file. Aliases get the name of what they equal.
 */
function shortNames(
  graph: Graph,
  nodes: readonly NodeProto[],
  tensors: readonly TensorProto[],
  aliases: Renaming,
): Renaming {
  const counts = new Map<string, number>();
  const count = (written: string): void => {
    const name = aliases.get(written) ?? written;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  };
  for (const node of nodes) for (const name of [...node.input, ...node.output]) count(name);
  for (const node of graph.sortedNodes()) for (const name of node.captured) count(name);
  for (const tensor of tensors) count(nameOf(tensor));
  const fixed = fixedNames(graph);
  const free = [...counts].filter(([name]) => !fixed.has(name));
  const sorted = free.sort(([, left], [, right]) => right - left);
  const names = identifiers(fixed);
  const given = new Map(sorted.map(([name]) => [name, names.next().value!]));
  for (const [name, same] of aliases) given.set(name, given.get(same)!);
  return given;
}

/** Names that stay: what the graph's users know, what subgraphs define, and the absent input. */
function fixedNames(graph: Graph): Set<string> {
  const subgraphs = graph.nodes.flatMap(({ proto }) => subgraphsOf(proto));
  const inner = subgraphs.flatMap((subgraph) => [...allNames(subgraph)]);
  return new Set(["", ...graph.inputNames, ...graph.outputNames, ...graph.sparseNames, ...inner]);
}

/** C90 identifiers, as ONNX wants them (docs/IR.md, "Names Within a Graph"), the short ones first. */
function* identifiers(taken: ReadonlySet<string>): Generator<string, never> {
  const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
  const all = `${letters}0123456789`;
  let stems = [""];
  for (;;) {
    const next: string[] = [];
    for (const stem of stems) {
      for (const letter of stem === "" ? letters : all) {
        const name = stem + letter;
        next.push(name);
        if (!taken.has(name)) yield name;
      }
    }
    stems = next;
  }
}

function renameNode(node: NodeProto, names: Renaming): NodeProto {
  const renamed = renameInSubgraphs(node, names);
  const rename = (name: string): string => names.get(name) ?? name;
  return { ...renamed, input: node.input.map(rename), output: node.output.map(rename) };
}

/** Short names for the nodes that multiply, which an audit of the running graph names; others have none. */
function layerNames(nodes: readonly Node[]): ReadonlyMap<Node, string> {
  const layers = nodes.filter(({ name, opType }) => name !== "" && isMultiplying(opType));
  const names = identifiers(new Set());
  return new Map(layers.map((node) => [node, names.next().value!]));
}

// ── case 6 ──────────────────────────────────────────────────────────────────────────────────────

function slimInfo({ name, type }: ValueInfoProto): ValueInfoProto {
  return {
    ...(name === undefined ? {} : { name }),
    ...(type === undefined ? {} : { type }),
    metadataProps: [],
  };
}

function slimModel(source: ModelProto, graph: GraphProto): ModelProto {
  return {
    ...(source.irVersion === undefined ? {} : { irVersion: source.irVersion }),
    opsetImport: source.functions.length > 0 ? source.opsetImport : usedOpsets(source, graph),
    graph,
    metadataProps: [],
    trainingInfo: [],
    functions: source.functions,
    configuration: source.configuration,
  };
}

/** ONNX's own operator set stays in any case: readers take its version for that of the model. */
function usedOpsets(source: ModelProto, graph: GraphProto): OperatorSetProto[] {
  const used = new Set([""]);
  const collect = (each: GraphProto): void => {
    for (const node of each.node) {
      used.add(normalDomain(node.domain));
      for (const inner of subgraphsOf(node)) collect(inner);
    }
  };
  collect(graph);
  return source.opsetImport.filter(({ domain }) => used.has(normalDomain(domain)));
}

function nameOf(tensor: TensorProto): string {
  return tensor.name ?? "";
}
