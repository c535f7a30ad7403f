/**
 * Stores weights, and computes where the device can, in half precision. Inputs and outputs of the
 * graph stay float32, with a Cast behind and in front of them.
 *
 * 1. A node works in half precision unless its operator says otherwise (`keepFloat32`), it belongs to
 *    another operator set, it holds subgraphs, it reads a value whose type cannot be told, or it
 *    computes with shapes, whose lengths beyond 2048 halves do not hold exactly.
 * 2. Where a node reads a value in the other precision, a Cast stands between; one per value.
 * 3. Weights are rounded half to even; beyond ±65504 they are clamped, and below the smallest half
 *    they are lifted to it, so that nothing but zero becomes zero.
 * Source: onnxconverter-common, float16.py (rules and block list).
 */
import { type DataType, dataTypes } from "../../onnx/data-type.ts";
import { elementTypes } from "../../onnx/element-types.ts";
import type { Graph } from "../../onnx/graph.ts";
import type { Model } from "../../onnx/model.ts";
import type { Node } from "../../onnx/node.ts";
import { factOf } from "../../onnx/ops/registry.ts";
import type { TensorProto, ValueInfoProto } from "../../onnx/schema.ts";
import { makeTensor, tensorFloats, tensorShape } from "../../onnx/tensor.ts";
import { definePass, noOptions } from "../pass.ts";

type Precision = "float16" | "float32";

/** The largest half, and the smallest above zero (IEEE 754 binary16). */
const halfMax = 65504;
const halfMin = 2 ** -24;

export const float16 = definePass({
  name: "float16",
  summary: "Stores weights in half precision; inputs and outputs stay float32.",
  options: noOptions,
  // Halves keep 11 bits; measured nets have 66 to 72 dB.
  tolerance: { kind: "signal", decibelMin: 50 },
  notApplicable(model) {
    const types = [...model.graph.initializers.values()].map((tensor) => tensor.dataType);
    if (types.includes(dataTypes.float16.code)) return "the model is in half precision already";
    const hasWeights = hasHalfWeights(model.graph);
    return hasWeights ? undefined : "no float32 weight is read by a node that works in halves";
  },
  run(_context, model) {
    const work = new HalfPrecision(model);
    return { modified: true, report: work.convert() };
  },
});

class HalfPrecision {
  readonly #graph: Graph;
  readonly #types: ReadonlyMap<string, DataType>;
  /** Nodes that stay float32. */
  readonly #kept: ReadonlySet<Node>;
  /** The name of a value in a precision that is not its own. */
  readonly #casts = new Map<string, string>();
  #clamped = 0;
  #lifted = 0;

  constructor(model: Model) {
    this.#graph = model.graph;
    this.#types = elementTypes(model.graph);
    this.#kept = keptNodes(model.graph, this.#types);
  }

  convert() {
    const nodes = this.#graph.sortedNodes();
    const homes = this.#homes(nodes);
    for (const node of nodes) this.#convertReads(node, homes);
    for (const node of nodes) if (!this.#kept.has(node)) retypeCast(node);
    this.#convertOutputs(homes);
    this.#retypeInfos(homes);
    for (const name of [...this.#graph.initializers.keys()]) {
      const isUnused = this.#graph.consumersOf(name).length === 0;
      if (isUnused && this.#casts.has(name)) this.#graph.removeInitializer(name);
    }
    return {
      halfNodes: nodes.length - this.#kept.size,
      float32Nodes: this.#kept.size,
      clampedWeights: this.#clamped,
      liftedWeights: this.#lifted,
    };
  }

  /** The precision in which each float32 value will be made; weights and inputs start as float32. */
  #homes(nodes: readonly Node[]): Map<string, Precision> {
    const homes = new Map<string, Precision>();
    for (const [name, type] of this.#types) if (type === "float32") homes.set(name, "float32");
    for (const node of nodes) {
      if (this.#kept.has(node)) continue;
      for (const name of node.outputs) if (homes.has(name)) homes.set(name, "float16");
    }
    return homes;
  }

  #convertReads(node: Node, homes: ReadonlyMap<string, Precision>): void {
    const fact = factOf(node);
    const isKept = this.#kept.has(node);
    node.inputs.forEach((name, index) => {
      const home = homes.get(name);
      if (home === undefined || (fact?.acceptsAnyType === true && index === 0)) return;
      const isFloat = isKept || fact?.float32Inputs?.includes(index) === true;
      const wanted = isFloat ? "float32" : "float16";
      if (wanted !== home) this.#graph.setInput(node, index, this.#as(name, wanted));
    });
    for (const name of node.captured) {
      if (homes.get(name) !== "float16") continue;
      const float = this.#as(name, "float32");
      const others = this.#graph.consumersOf(name).filter((other) => other !== node);
      this.#graph.replaceUses(name, float, new Set(others));
    }
  }

  /** The name under which a value is to be had in the other precision. */
  #as(name: string, precision: Precision): string {
    const known = this.#casts.get(name);
    if (known !== undefined) return known;
    const converted = this.#graph.uniqueName(`${name}_${precision}`);
    this.#casts.set(name, converted);
    const tensor = this.#graph.constant(name);
    if (tensor !== undefined) this.#graph.setInitializer(this.#halfTensor(tensor, converted));
    else this.#addCast(name, converted, precision);
    return converted;
  }

  #addCast(from: string, to: string, precision: Precision): void {
    this.#graph.addNode({
      opType: "Cast",
      inputs: [from],
      outputs: [to],
      attributes: { to: { int: dataTypes[precision].code } },
      name: `${to}_cast`,
    });
  }

  #halfTensor(tensor: TensorProto, name: string): TensorProto {
    const floats = tensorFloats(tensor);
    // Setting an element rounds it half to even.
    const data = new Float16Array(floats);
    for (let index = 0; index < floats.length; index++) {
      const value = floats[index]!;
      if (Number.isFinite(value) && Math.abs(value) > halfMax) {
        data[index] = Math.sign(value) * halfMax;
        this.#clamped++;
      } else if (value !== 0 && Math.abs(value) < halfMin) {
        data[index] = Math.sign(value) * halfMin;
        this.#lifted++;
      }
    }
    return makeTensor({ name, type: "float16", shape: tensorShape(tensor), data });
  }

  /** The graph yields float32 under the old names; inside, the halves get new ones. */
  #convertOutputs(homes: Map<string, Precision>): void {
    const graph = this.#graph;
    for (const name of graph.outputNames) {
      const producer = graph.producerOf(name);
      if (homes.get(name) !== "float16" || producer === undefined) continue;
      const half = graph.uniqueName(`${name}_float16`);
      graph.setOutputs(
        producer,
        producer.outputs.map((output) => (output === name ? half : output)),
      );
      graph.replaceUses(name, half);
      const existing = this.#casts.get(name);
      const cast = existing === undefined ? undefined : graph.producerOf(existing);
      if (cast !== undefined) {
        graph.replaceUses(existing!, name);
        graph.removeNode(cast);
      }
      this.#addCast(half, name, "float32");
      homes.set(name, "float32");
    }
  }

  /** What the file says of values in the middle follows their new type. */
  #retypeInfos(homes: ReadonlyMap<string, Precision>): void {
    const graph = this.#graph;
    for (const [name, home] of homes) {
      const info = graph.infoOf(name);
      const isVisible = graph.isInput(name) || graph.isOutput(name);
      if (home !== "float16" || info === undefined || isVisible) continue;
      graph.setInfo(name, retyped(info));
    }
  }
}

/** True when a float32 constant is read where it could be a half. */
function hasHalfWeights(graph: Graph): boolean {
  const kept = keptNodes(graph, elementTypes(graph));
  return graph.nodes.some((node) => {
    if (kept.has(node)) return false;
    const floats = factOf(node)?.float32Inputs ?? [];
    return node.inputs.some(
      (name, index) =>
        !floats.includes(index) && graph.constant(name)?.dataType === dataTypes.float32.code,
    );
  });
}

/** Nodes whose work stays in float32. */
function keptNodes(graph: Graph, types: ReadonlyMap<string, DataType>): Set<Node> {
  const kept = new Set<Node>();
  const ofShapes = new Set<string>();
  for (const node of graph.sortedNodes()) {
    const fact = factOf(node);
    const readsShapes = node.inputs.filter((name) => ofShapes.has(name)).length > 0;
    const readsOther = node.inputs.some(
      (name) => name !== "" && !ofShapes.has(name) && !graph.initializers.has(name),
    );
    const isShapeWork = readsShapes && !readsOther;
    if (isShapeWork || node.is("Shape") || node.is("Size")) {
      for (const name of node.outputs) ofShapes.add(name);
    }
    const isForeign = node.domain !== "" || node.hasSubgraphs;
    const readsUnknown = node.inputs.some((name) => name !== "" && !types.has(name));
    if (isForeign || readsUnknown || isShapeWork || fact?.keepFloat32 === true) kept.add(node);
  }
  return kept;
}

/** A Cast that made float32 makes halves instead. */
function retypeCast(node: Node): void {
  const makesFloat = node.int("to", undefined) === dataTypes.float32.code;
  if (node.is("Cast") && makesFloat) node.setAttribute("to", { int: dataTypes.float16.code });
}

function retyped(info: ValueInfoProto): ValueInfoProto {
  const tensorType = { ...info.type?.tensorType, elemType: dataTypes.float16.code };
  return { ...info, type: { ...info.type, tensorType } };
}
