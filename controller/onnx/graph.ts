/**
 * A graph that passes edit. Values are names, as in ONNX: each is made once, by a node, a graph input
 * or an initializer, and the graph knows at any time who makes it and who reads it.
 *
 * Invariants: the maps are right after every call, at a cost that does not grow with the graph; what
 * nobody edited is written as the bytes that were read. Nodes may be added in any order; `toProto`
 * writes them sorted.
 */
import { assert } from "../../shared/assert.ts";
import { makeNode, type NodeInput } from "./build.ts";
import { type DataType, dataTypeOfCode } from "./data-type.ts";
import { Node } from "./node.ts";
import type { GraphProto, TensorProto, ValueInfoProto } from "./schema.ts";
import { allNames, renameInSubgraphs, subgraphsOf } from "./subgraph.ts";
import { topologicalOrder } from "./topological-order.ts";

/** A dim: its length, the name of an unknown length, or null. */
export type Dim = number | string | null;

export class Graph {
  readonly #source: GraphProto;
  readonly #nodes = new Set<Node>();
  #nodeList: readonly Node[] | undefined;
  readonly #initializers = new Map<string, TensorProto>();
  #inputs: readonly ValueInfoProto[];
  #outputs: readonly ValueInfoProto[];
  readonly #valueInfo = new Map<string, ValueInfoProto>();
  readonly #producers = new Map<string, Node>();
  readonly #consumers = new Map<string, Set<Node>>();
  readonly #names = new Set<string>();
  readonly #nextSuffix = new Map<string, number>();

  private constructor(proto: GraphProto) {
    this.#source = proto;
    this.#inputs = proto.input;
    this.#outputs = proto.output;
    for (const tensor of proto.initializer) this.#initializers.set(tensor.name ?? "", tensor);
    for (const info of proto.valueInfo) this.#valueInfo.set(info.name ?? "", info);
    for (const info of [...proto.input, ...proto.output]) this.#names.add(info.name ?? "");
    for (const name of this.#initializers.keys()) this.#names.add(name);
    for (const { values } of proto.sparseInitializer) this.#names.add(values?.name ?? "");
    for (const node of proto.node) this.#attach(new Node(node));
  }

  /** A graph over a message that the checker accepted. */
  static fromProto(proto: GraphProto): Graph {
    return new Graph(proto);
  }

  /** The message as it stands, nodes in topological order. Throws `onnx-cycle`. */
  toProto(): GraphProto {
    const source = this.#source;
    const order = topologicalOrder(this.nodes, (name) => this.#producers.get(name));
    return reuse(source, {
      ...source,
      node: reuseList(
        source.node,
        order.map((node) => node.proto),
      ),
      initializer: reuseList(source.initializer, [...this.#initializers.values()]),
      input: this.#inputs,
      output: this.#outputs,
      valueInfo: reuseList(source.valueInfo, [...this.#valueInfo.values()]),
    });
  }

  // ── reading ───────────────────────────────────────────────────────────────────────────────────

  /** A snapshot, in the order of the file and then of adding; editing while walking it is fine. */
  get nodes(): readonly Node[] {
    this.#nodeList ??= [...this.#nodes];
    return this.#nodeList;
  }

  /** The nodes so that each comes after those it reads from. Throws `onnx-cycle`. */
  sortedNodes(): Node[] {
    return topologicalOrder(this.nodes, (name) => this.#producers.get(name));
  }

  get name(): string {
    return this.#source.name ?? "";
  }

  /** Graph inputs, also those that only give an initializer its place. */
  get inputs(): readonly ValueInfoProto[] {
    return this.#inputs;
  }

  get outputs(): readonly ValueInfoProto[] {
    return this.#outputs;
  }

  get initializers(): ReadonlyMap<string, TensorProto> {
    return this.#initializers;
  }

  get inputNames(): string[] {
    return this.#inputs.map(({ name }) => name ?? "");
  }

  get outputNames(): string[] {
    return this.#outputs.map(({ name }) => name ?? "");
  }

  /** Names of the sparse initializers, which are kept as they were read. */
  get sparseNames(): string[] {
    return this.#source.sparseInitializer.map(({ values }) => values?.name ?? "");
  }

  isInput(name: string): boolean {
    return this.#inputs.some((info) => info.name === name);
  }

  isOutput(name: string): boolean {
    return this.#outputs.some((info) => info.name === name);
  }

  hasNode(node: Node): boolean {
    return this.#nodes.has(node);
  }

  /** An initializer that no caller can override by feeding an input of its name. */
  constant(name: string): TensorProto | undefined {
    return this.isInput(name) ? undefined : this.#initializers.get(name);
  }

  /** The node that makes a value; undefined for graph inputs and initializers. */
  producerOf(name: string): Node | undefined {
    return this.#producers.get(name);
  }

  /** The nodes that read a value, each once, also those whose subgraphs read it. */
  consumersOf(name: string): readonly Node[] {
    return [...(this.#consumers.get(name) ?? [])];
  }

  /** The one node that reads a value, when nothing else does, the graph's outputs included. */
  onlyConsumerOf(name: string): Node | undefined {
    const consumers = this.#consumers.get(name);
    if (consumers?.size !== 1 || this.isOutput(name)) return undefined;
    const [node] = consumers;
    return node;
  }

  /** What the file says of a value's type and shape. */
  infoOf(name: string): ValueInfoProto | undefined {
    const isNamed = (info: ValueInfoProto): boolean => info.name === name;
    return this.#valueInfo.get(name) ?? this.#inputs.find(isNamed) ?? this.#outputs.find(isNamed);
  }

  /** The element type that the file declares for a value, if it does. */
  declaredType(name: string): DataType | undefined {
    const code = this.#initializers.get(name)?.dataType ?? tensorTypeOf(this.infoOf(name));
    return code === undefined ? undefined : dataTypeOfCode(code);
  }

  /** The shape that the file declares for a value, if it does. */
  declaredShape(name: string): Dim[] | undefined {
    const tensor = this.#initializers.get(name);
    if (tensor !== undefined) return tensor.dims.map(Number);
    return this.infoOf(name)?.type?.tensorType?.shape?.dim.map((dim) =>
      dim.dimValue !== undefined ? Number(dim.dimValue) : (dim.dimParam ?? null),
    );
  }

  // ── editing ───────────────────────────────────────────────────────────────────────────────────

  /** A name that nothing in the graph or its subgraphs has, close to `hint`. */
  uniqueName(hint: string): string {
    let name = hint;
    for (let suffix = this.#nextSuffix.get(hint) ?? 0; this.#isTaken(name); suffix++) {
      name = `${hint}_${suffix}`;
      this.#nextSuffix.set(hint, suffix + 1);
    }
    this.#names.add(name);
    return name;
  }

  /** Adds a node; its outputs must be new. */
  addNode(input: NodeInput): Node {
    const node = new Node(makeNode(input));
    for (const name of node.outputs) {
      assert(!this.#producers.has(name), `value ${name} is made twice`);
    }
    this.#attach(node);
    return node;
  }

  /** Takes a node out; its outputs have no producer then, until another node makes them. */
  removeNode(node: Node): void {
    assert(this.#nodes.delete(node), `node ${node.name} is not in the graph`);
    this.#nodeList = undefined;
    this.#detachWrites(node);
    this.#detachReads(node);
  }

  /** Replaces all inputs. */
  setInputs(node: Node, inputs: readonly string[]): void {
    this.#change(node, () => node.replaceProto({ ...node.proto, input: [...inputs] }));
  }

  /** Replaces one input; positions in between are filled with absent ones. */
  setInput(node: Node, index: number, name: string): void {
    const inputs = [...node.inputs];
    while (inputs.length <= index) inputs.push("");
    inputs[index] = name;
    this.setInputs(node, inputs);
  }

  /** Replaces all outputs. */
  setOutputs(node: Node, outputs: readonly string[]): void {
    this.#detachWrites(node);
    node.replaceProto({ ...node.proto, output: [...outputs] });
    this.#attachWrites(node);
  }

  /** Lets every node that reads `from`, but `except`, read `to`. Graph outputs are not touched. */
  replaceUses(from: string, to: string, except: ReadonlySet<Node> = new Set()): void {
    const renaming = new Map([[from, to]]);
    for (const node of this.consumersOf(from)) {
      if (except.has(node)) continue;
      this.#change(node, () => {
        const input = node.inputs.map((name) => (name === from ? to : name));
        const captures = node.captured.includes(from);
        const proto = captures ? renameInSubgraphs(node.proto, renaming) : node.proto;
        node.replaceProto({ ...proto, input });
      });
    }
  }

  /** Adds or replaces an initializer under the tensor's name. */
  setInitializer(tensor: TensorProto): string {
    const name = tensor.name ?? "";
    assert(name !== "" && !this.#producers.has(name), `no initializer can be named ${name}`);
    this.#names.add(name);
    this.#initializers.set(name, tensor);
    return name;
  }

  removeInitializer(name: string): void {
    this.#initializers.delete(name);
  }

  setInputInfos(inputs: readonly ValueInfoProto[]): void {
    this.#inputs = inputs;
    for (const { name } of inputs) this.#names.add(name ?? "");
  }

  setOutputInfos(outputs: readonly ValueInfoProto[]): void {
    this.#outputs = outputs;
    for (const { name } of outputs) this.#names.add(name ?? "");
  }

  /** Says, or with undefined stops saying, what a value in the middle is. */
  setInfo(name: string, info: ValueInfoProto | undefined): void {
    if (info === undefined) this.#valueInfo.delete(name);
    else this.#valueInfo.set(name, info);
  }

  // ── upkeep of the maps ────────────────────────────────────────────────────────────────────────

  #attach(node: Node): void {
    this.#nodes.add(node);
    this.#nodeList = undefined;
    this.#attachWrites(node);
    this.#attachReads(node);
    for (const subgraph of subgraphsOf(node.proto)) {
      for (const name of allNames(subgraph)) this.#names.add(name);
    }
  }

  #detachWrites(node: Node): void {
    for (const name of node.outputs) {
      if (this.#producers.get(name) === node) this.#producers.delete(name);
    }
  }

  #attachWrites(node: Node): void {
    for (const name of node.outputs) {
      if (name === "") continue;
      this.#producers.set(name, node);
      this.#names.add(name);
    }
  }

  #attachReads(node: Node): void {
    for (const name of [...node.inputs, ...node.captured]) {
      if (name === "") continue;
      this.#names.add(name);
      const readers = this.#consumers.get(name);
      if (readers === undefined) this.#consumers.set(name, new Set([node]));
      else readers.add(node);
    }
  }

  #detachReads(node: Node): void {
    for (const name of [...node.inputs, ...node.captured]) {
      const readers = this.#consumers.get(name);
      readers?.delete(node);
      if (readers?.size === 0) this.#consumers.delete(name);
    }
  }

  #change(node: Node, edit: () => void): void {
    assert(this.#nodes.has(node), `node ${node.name} is not in the graph`);
    this.#detachReads(node);
    edit();
    this.#attachReads(node);
  }

  #isTaken(name: string): boolean {
    return name === "" || this.#names.has(name);
  }
}

function tensorTypeOf(info: ValueInfoProto | undefined): number | undefined {
  return info?.type?.tensorType?.elemType;
}

/** The old list when the new one holds the same objects. */
function reuseList<T>(source: readonly T[], list: readonly T[]): readonly T[] {
  const isSame = source.length === list.length && source.every((item, at) => item === list[at]);
  return isSame ? source : list;
}

/** The old message when no field differs, so that its bytes are kept. */
function reuse(source: GraphProto, edited: GraphProto): GraphProto {
  const keys = Object.keys(edited) as (keyof GraphProto)[];
  return keys.every((key) => source[key] === edited[key]) ? source : edited;
}
