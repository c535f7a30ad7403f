/**
 * Decides, before anything is written, which nodes of a graph become int8 and which values between
 * them get scales. What is decided here is what onnxruntime can fuse on x86: a node is only worth
 * quantizing when every input and its output are.
 *
 * Steps, in topological order:
 * 1. Linear nodes with a constant float32 weight are taken; the values they read become quantized.
 * 2. A node with a role is taken when all values it reads are quantized by then.
 * 3. Relu and Clip right behind a taken node are absorbed: the scale is that of what comes out. Where
 *    they stay (symmetric codes cannot end at 0), what they cut away needs no codes either.
 * 4. Backwards: a taken node that only float nodes read is given up, since quantizing its output
 *    costs accuracy and saves nothing. Linear nodes stay, and what moves values in front of weights.
 *
 * Source: onnxruntime 1.30, qdq_selector_action_transformer.cc, and graph dumps of it.
 */
import type { DataType } from "../../onnx/data-type.ts";
import { elementTypes } from "../../onnx/element-types.ts";
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import type { Bounds, QuantizationRole, WeightFact } from "../../onnx/ops/op-fact.ts";
import { factOf } from "../../onnx/ops/registry.ts";
import { tensorElements, tensorShape } from "../../onnx/tensor.ts";

/** A node that becomes int8. */
export interface SelectedNode {
  readonly node: Node;
  readonly role: Exclude<QuantizationRole, { kind: "absorbed" }>;
  /** Inputs that get scales: all but weights, shapes and other parameters. */
  readonly dataInputs: readonly number[];
  /** The Relu or Clip behind it that disappears, with its bounds. */
  readonly absorbed?: { readonly node: Node; readonly bounds: Bounds };
  /** Values that leave it, behind what it absorbed. */
  readonly outputs: readonly string[];
}

export interface Selection {
  readonly nodes: readonly SelectedNode[];
  /** Values that become 8-bit between nodes. */
  readonly values: ReadonlySet<string>;
  /** Values whose scale is that of another: value → where it comes from. */
  readonly sharedWith: ReadonlyMap<string, string>;
  /** Values whose range is that of what an activation behind them leaves: value → its result. */
  readonly cutTo: ReadonlyMap<string, string>;
  /** Nodes that the recipe wants float. */
  readonly excluded: ReadonlySet<Node>;
  /** Linear nodes that stay float, with the reason. */
  readonly refused: readonly { readonly node: string; readonly reason: string }[];
}

export interface SelectionOptions {
  /** Names of nodes that stay float; of nodes without one that of their first output. */
  readonly exclude: readonly string[];
  /** Codes start in the middle: nothing below 0 is cut, so no Relu can be absorbed. */
  readonly symmetricActivations: boolean;
  /** Products of two activations, as in attention, are taken too. */
  readonly activationProducts?: boolean;
}

export function selectNodes(graph: Graph, options: SelectionOptions): Selection {
  const draft = new Draft(graph, options);
  const order = graph.sortedNodes();
  for (const node of order) draft.considerLinear(node);
  for (const node of order) draft.considerOther(node);
  return draft.finish(order);
}

class Draft {
  readonly #graph: Graph;
  readonly #types: ReadonlyMap<string, DataType>;
  readonly #excluded: ReadonlySet<Node>;
  readonly #absorbs: boolean;
  readonly #products: boolean;
  readonly #selected = new Map<Node, SelectedNode>();
  readonly #absorbed = new Set<Node>();
  /** Values that are quantized if everything taken so far stays. */
  readonly #values = new Set<string>();
  readonly #refused: { node: string; reason: string }[] = [];

  constructor(graph: Graph, options: SelectionOptions) {
    this.#graph = graph;
    this.#types = elementTypes(graph);
    const names = new Set(options.exclude);
    this.#excluded = new Set(graph.nodes.filter((node) => names.has(nodeLabel(node))));
    this.#absorbs = !options.symmetricActivations;
    this.#products = options.activationProducts === true;
  }

  considerLinear(node: Node): void {
    const role = factOf(node)?.quantization;
    if (role?.kind !== "linear") return;
    const reason = this.#linearRefusal(node, role);
    if (reason !== undefined) {
      this.#refused.push({ node: nodeLabel(node), reason });
      return;
    }
    this.#take(node, role, [0]);
    this.#values.add(node.input(0));
  }

  considerOther(node: Node): void {
    const role = this.#otherRole(node);
    if (role === undefined || this.#absorbed.has(node)) return;
    if (this.#excluded.has(node) || this.#types.get(node.output(0)) !== "float32") return;
    const dataInputs = dataInputsOf(node);
    const names = dataInputs.map((index) => node.input(index));
    const isReady = names.every((name) => this.#values.has(name) || this.#isConstant(name));
    if (!isReady || !names.some((name) => this.#values.has(name))) return;
    // Further outputs (indices of a pooling) have no 8-bit form, unless all are of one type.
    const extra = node.outputs.slice(1).filter((name) => name !== "");
    if (extra.some((name) => this.#types.get(name) !== "float32")) return;
    this.#take(node, role, dataInputs);
  }

  finish(order: readonly Node[]): Selection {
    for (const node of order.toReversed()) {
      const selected = this.#selected.get(node);
      if (selected !== undefined && selected.role.kind !== "linear" && !this.#isWorthIt(selected)) {
        this.#selected.delete(node);
      }
    }
    const nodes = order.flatMap((node) => this.#selected.get(node) ?? []);
    const values = new Set<string>();
    const sharedWith = new Map<string, string>();
    for (const selected of nodes) {
      for (const index of selected.dataInputs) {
        const name = selected.node.input(index);
        if (!this.#isConstant(name)) values.add(name);
      }
    }
    for (const selected of nodes) {
      if (this.#needsScale(selected, values)) for (const name of selected.outputs) values.add(name);
      if (selected.role.kind !== "moved") continue;
      for (const name of selected.outputs) sharedWith.set(name, selected.node.input(0));
    }
    const cutTo = new Map<string, string>();
    for (const name of values) {
      const next = this.#graph.onlyConsumerOf(name);
      if (next !== undefined && this.#boundsOf(next, name) !== undefined) {
        cutTo.set(name, next.output(0));
      }
    }
    return { nodes, values, sharedWith, cutTo, excluded: this.#excluded, refused: this.#refused };
  }

  #linearRefusal(
    node: Node,
    role: Extract<QuantizationRole, { kind: "linear" }>,
  ): string | undefined {
    const weight = factOf(node)!.weight!;
    const name = node.input(weight.input);
    const bias = weight.bias === undefined ? "" : node.input(weight.bias);
    if (this.#excluded.has(node)) return "excluded by the recipe";
    if (this.#graph.constant(name) === undefined) return "its weight is not a constant";
    if (this.#types.get(name) !== "float32") return "its weight is not float32";
    if (this.#graph.constant(node.input(0)) !== undefined) return "its input is a constant";
    if (this.#types.get(node.input(0)) !== "float32") return "its input is not float32";
    if (bias !== "" && this.#graph.constant(bias) === undefined)
      return "its bias is not a constant";
    return role.refusal?.(node, this.#graph) ?? this.#biasRefusal(node, weight, bias);
  }

  #biasRefusal(node: Node, weight: WeightFact, bias: string): string | undefined {
    const tensor = this.#graph.constant(bias);
    if (tensor === undefined) return undefined;
    const layout = weight.layout(
      node,
      tensorShape(this.#graph.constant(node.input(weight.input))!),
    );
    const channels = layout === undefined ? undefined : layout.groups * layout.channels;
    return tensorElements(tensor) === channels
      ? undefined
      : "its bias is not one value per channel";
  }

  #take(node: Node, role: SelectedNode["role"], dataInputs: readonly number[]): void {
    const absorbed = role.kind === "moved" ? undefined : this.#absorbable(node);
    const outputs = (absorbed?.node ?? node).outputs.filter((name) => name !== "");
    for (const name of outputs) this.#values.add(name);
    if (absorbed !== undefined) this.#absorbed.add(absorbed.node);
    this.#selected.set(node, {
      node,
      role,
      dataInputs,
      outputs,
      ...(absorbed === undefined ? {} : { absorbed }),
    });
  }

  /**
   * A Relu or Clip that alone reads the node: codes that end where it cuts do its work. It is taken out
   * of the graph, since onnxruntime drops it only for bounds that are codes to the last bit.
   */
  #absorbable(node: Node): SelectedNode["absorbed"] {
    if (!this.#absorbs) return undefined;
    const next = this.#graph.onlyConsumerOf(node.output(0));
    if (next === undefined || this.#excluded.has(next)) return undefined;
    const bounds = this.#boundsOf(next, node.output(0));
    return bounds !== undefined && bounds.min <= 0 && bounds.max > 0
      ? { node: next, bounds }
      : undefined;
  }

  /** Where a Relu or Clip cuts the value it reads; undefined for other nodes. */
  #boundsOf(node: Node, name: string): Bounds | undefined {
    const role = factOf(node)?.quantization;
    if (role?.kind !== "absorbed" || node.input(0) !== name) return undefined;
    return role.bounds(node, this.#graph);
  }

  /**
   * True when some selected node reads what this one makes. Moving is worth it for float weights too:
   * onnxruntime would carry DequantizeLinear past the move, out of reach of what keeps them float.
   */
  #isWorthIt({ role, outputs }: SelectedNode): boolean {
    const isRead = (reader: Node, name: string): boolean =>
      this.#reads(reader, name) ||
      (role.kind === "moved" && factOf(reader)?.weight !== undefined && reader.input(0) === name);
    return outputs.some((name) =>
      this.#graph.consumersOf(name).some((reader) => isRead(reader, name)),
    );
  }

  #reads(reader: Node, name: string): boolean {
    const selected = this.#selected.get(reader);
    return selected?.dataInputs.some((index) => reader.input(index) === name) ?? false;
  }

  /** Whether QuantizeLinear must follow a node that no selected node may read. */
  #needsScale(selected: SelectedNode, values: ReadonlySet<string>): boolean {
    if (selected.role.kind !== "linear" || !selected.role.floatOutput) return true;
    const spoilers = selected.role.floatOutputSpoiledBy ?? [];
    return selected.outputs.some(
      (name) =>
        values.has(name) ||
        this.#graph.consumersOf(name).some((reader) => spoilers.includes(reader.opType)),
    );
  }

  /** A Relu or Clip that is not absorbed, or a product of activations, is computed like other nodes. */
  #otherRole(node: Node): Exclude<SelectedNode["role"], { kind: "linear" }> | undefined {
    const role = factOf(node)?.quantization;
    if (role?.kind === "absorbed") return { kind: "computed" };
    if (role?.kind !== "linear") return role;
    const isTaken = this.#products && role.multipliesActivations === true;
    const isConstant = node.inputs.some((name) => this.#graph.constant(name) !== undefined);
    return isTaken && !isConstant ? { kind: "computed" } : undefined;
  }

  #isConstant(name: string): boolean {
    return this.#graph.constant(name) !== undefined && this.#types.get(name) === "float32";
  }
}

/** The inputs that are quantized: of what moves values or cuts them the first, of others all. */
function dataInputsOf(node: Node): number[] {
  const role = factOf(node)?.quantization;
  if (role?.kind === "moved" || role?.kind === "absorbed") return [0];
  if (role?.kind === "computed" && role.dataInputs !== undefined) return [...role.dataInputs];
  return node.inputs.flatMap((name, index) => (name === "" ? [] : [index]));
}

/** How reports name a node. */
export function nodeLabel(node: Node): string {
  return node.name === "" ? node.output(0) : node.name;
}
