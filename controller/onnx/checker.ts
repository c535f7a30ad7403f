/**
 * Says whether a decoded model makes sense before anything is done with it: every value is made once
 * and before it is read, every tensor holds what it declares, weights are finite numbers.
 *
 * Invariants: nothing is changed; the first fault found is thrown with a code and the name of the
 * culprit. Nodes out of order are accepted, since writing sorts them; a cycle is not.
 */
import { FleetError } from "../../shared/errors.ts";
import { dataTypeOfCode, dataTypes } from "./data-type.ts";
import { Node, normalDomain } from "./node.ts";
import { factOf } from "./ops/registry.ts";
import type { GraphProto, ModelProto, NodeProto, TensorProto } from "./schema.ts";
import { subgraphsOf } from "./subgraph.ts";
import { refuseExternal, tensorData, tensorFloats } from "./tensor.ts";
import { topologicalOrder } from "./topological-order.ts";
import { malformed } from "./wire.ts";

/** File formats: 3 is the first with operator sets; 13 is that of ONNX 1.20. */
const irVersions = { min: 3, max: 13 } as const;

/** ONNX's own operator sets: below 7 broadcasting was another; 26 is the newest known here. */
const opsets = { min: 7, max: 26 } as const;

/** What a tensor must hold: finite numbers, or any number. */
type Demand = "finite" | "number";

/** Messages that were found sound, tensors to which demand. Messages never change, so they stay so. */
export interface CheckedMessages {
  readonly models: WeakSet<ModelProto>;
  readonly tensors: WeakMap<TensorProto, Demand>;
}

/** What is known before anything was checked. */
export function nothingChecked(): CheckedMessages {
  return { models: new WeakSet(), tensors: new WeakMap() };
}

/**
 * Throws `onnx-malformed`, `onnx-cycle`, `onnx-not-finite` or `onnx-unsupported`. What is in `checked`
 * is not read again, and what was read now is added.
 */
export function checkModel(model: ModelProto, checked = nothingChecked()): void {
  if (checked.models.has(model)) return;
  const irVersion = Number(model.irVersion ?? 0n);
  requireVersion("file format (ir_version)", irVersion, irVersions);
  const domains = new Set<string>();
  for (const { domain, version } of model.opsetImport) {
    const name = normalDomain(domain);
    if (domains.has(name)) throw malformed(`operator set "${name}" is imported twice`);
    domains.add(name);
    if (name === "") requireVersion("operator set", Number(version ?? 0n), opsets);
  }
  if (domains.size === 0) throw malformed("it imports no operator set");
  if (model.graph === undefined) throw malformed("it holds no graph");
  if (model.graph.output.length === 0) throw malformed("the graph has no output");
  checkGraph(model.graph, { domains, outer: new Set(), checked: checked.tensors });
  checked.models.add(model);
}

interface Scope {
  readonly domains: ReadonlySet<string>;
  /** Values of the graphs around. */
  readonly outer: ReadonlySet<string>;
  readonly checked: CheckedMessages["tensors"];
}

function checkGraph(graph: GraphProto, scope: Scope): void {
  const defined = defineValues(graph);
  const visible = new Set([...scope.outer, ...defined]);
  const nodes = graph.node.map((proto) => new Node(proto));
  const weights = weightNames(nodes);
  const check = (tensor: TensorProto | undefined, demand: Demand): void => {
    if (tensor !== undefined) checkOnce(tensor, demand, scope.checked);
  };
  for (const tensor of graph.initializer) {
    check(tensor, weights.has(tensor.name ?? "") ? "finite" : "number");
  }
  for (const { values, indices } of graph.sparseInitializer) {
    check(values, "number");
    check(indices, "number");
  }
  for (const node of graph.node) {
    checkNode(node, scope.domains);
    for (const name of node.input) {
      if (name !== "" && !visible.has(name)) throw undefinedValue(nodeLabel(node), name);
    }
    for (const { t } of node.attribute) {
      check(t, weights.has(node.output[0] ?? "") ? "finite" : "number");
    }
    for (const inner of subgraphsOf(node)) {
      checkGraph(inner, { ...scope, outer: visible });
    }
  }
  for (const { name } of graph.output) {
    if (!visible.has(name ?? "")) throw undefinedValue("the graph's outputs", name ?? "");
  }
  const producers = new Map(nodes.flatMap((node) => node.outputs.map((name) => [name, node])));
  topologicalOrder(nodes, (name) => (name === "" ? undefined : producers.get(name)));
}

/** Every name the graph defines; throws when one is defined twice. */
function defineValues(graph: GraphProto): Set<string> {
  const inputs = new Set<string>();
  for (const { name } of graph.input) define(inputs, name ?? "", "graph input");
  const initializers = new Set<string>();
  for (const { name } of graph.initializer) define(initializers, name ?? "", "initializer");
  for (const { values } of graph.sparseInitializer) {
    define(initializers, values?.name ?? "", "initializer");
  }
  // An initializer under an input's name is that input's default.
  const defined = new Set([...inputs, ...initializers]);
  for (const node of graph.node) {
    for (const name of node.output) {
      if (name !== "") define(defined, name, `output of ${nodeLabel(node)}`);
    }
  }
  return defined;
}

function define(names: Set<string>, name: string, what: string): void {
  if (name === "") throw malformed(`a ${what} has no name`);
  if (names.has(name)) throw malformed(`value ${name} is made twice, once as ${what}`);
  names.add(name);
}

function checkNode(node: NodeProto, domains: ReadonlySet<string>): void {
  if ((node.opType ?? "") === "") throw malformed(`node ${node.name ?? ""} names no operator`);
  const domain = normalDomain(node.domain);
  if (!domains.has(domain)) {
    throw malformed(`${nodeLabel(node)} uses operator set "${domain}", which is not imported`);
  }
  const names = new Set<string>();
  for (const { name } of node.attribute) {
    if (names.has(name ?? "")) throw malformed(`${nodeLabel(node)} has attribute ${name} twice`);
    names.add(name ?? "");
  }
}

function checkOnce(tensor: TensorProto, demand: Demand, checked: CheckedMessages["tensors"]): void {
  const known = checked.get(tensor);
  if (known === "finite" || known === demand) return;
  checkTensor(tensor, demand);
  checked.set(tensor, demand);
}

/**
 * NaN is a fault anywhere. Infinity is one in a weight; elsewhere it is in use, for instance as the
 * forbidden entries of an attention mask.
 */
function checkTensor(tensor: TensorProto, demand: Demand): void {
  refuseExternal(tensor);
  const type = dataTypeOfCode(tensor.dataType ?? 0);
  if (type === undefined) return;
  if (!dataTypes[type].isFloat) {
    tensorData(tensor);
    return;
  }
  const values = tensorFloats(tensor);
  // By index: iterators take four times as long, and weights are most of a model.
  for (let at = 0; at < values.length; at++) {
    const value = values[at]!;
    if (demand === "finite" ? Number.isFinite(value) : !Number.isNaN(value)) continue;
    throw new FleetError(
      "onnx-not-finite",
      `tensor ${tensor.name || "of a constant"} holds ${value}: repair or retrain the model`,
      { details: { tensor: tensor.name ?? "", value: String(value) } },
    );
  }
}

/** Values that some operator uses as its weight or bias. */
function weightNames(nodes: readonly Node[]): Set<string> {
  const names = new Set<string>();
  for (const node of nodes) {
    const weight = factOf(node)?.weight;
    if (weight === undefined) continue;
    names.add(node.input(weight.input));
    if (weight.bias !== undefined) names.add(node.input(weight.bias));
  }
  names.delete("");
  return names;
}

function requireVersion(
  what: string,
  version: number,
  range: { readonly min: number; readonly max: number },
): void {
  if (version >= range.min && version <= range.max) return;
  throw new FleetError(
    "onnx-unsupported",
    `${what} ${version} is not supported, ${range.min} to ${range.max} are: export the model again`,
    { details: { what, version } },
  );
}

function undefinedValue(reader: string, name: string): FleetError {
  return malformed(`${reader} reads ${name || "a value without a name"}, which nothing makes`);
}

function nodeLabel(node: NodeProto): string {
  return `${node.opType ?? "?"} ${node.name || node.output[0] || ""}`.trim();
}
