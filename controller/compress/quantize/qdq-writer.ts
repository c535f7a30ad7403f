/**
 * Writes QuantizeLinear and DequantizeLinear nodes and their constants into a graph. Equal scales and
 * zero points are stored once: on small nets they would otherwise be most of the file.
 */
import type { DataOf } from "../../onnx/data-type.ts";
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import type { ChannelAxis } from "../../onnx/ops/op-fact.ts";
import { makeTensor } from "../../onnx/tensor.ts";
import type { ActivationFormat, QuantizationParameters } from "./scale.ts";

type CodeType = "uint8" | "int8" | "int32";

type StoredType = "float32" | CodeType;

const codeArrays = { int32: Int32Array, int8: Int8Array, uint8: Uint8Array };

/** Who reads quantized values. */
export interface ValueReaders {
  readonly int8: ReadonlySet<Node>;
  /** Nodes that read input 0 through one scale per channel. */
  readonly perChannel: ReadonlyMap<Node, ChannelAxis>;
}

export class QdqWriter {
  readonly #graph: Graph;
  readonly #constants = new Map<string, string>();
  readonly #activations: ActivationFormat;

  constructor(graph: Graph, activations: ActivationFormat) {
    this.#graph = graph;
    this.#activations = activations;
  }

  /**
   * Puts QuantizeLinear and DequantizeLinear behind a value. What an int8 node makes, every reader
   * reads as codes, float ones too, or else onnxruntime finds it read twice and leaves the node float;
   * of what a float node makes, float readers keep the float. A value that the graph yields keeps its
   * name.
   */
  quantizeValue(name: string, parameters: QuantizationParameters, readers: ValueReaders): void {
    const graph = this.#graph;
    const producer = graph.producerOf(name);
    const isInt8 = producer !== undefined && readers.int8.has(producer);
    const codes = graph.uniqueName(`${name}_q`);
    const isYielded = isInt8 && graph.isOutput(name);
    const source = isYielded ? graph.uniqueName(`${name}_f`) : name;
    const result = isYielded ? name : graph.uniqueName(`${name}_dq`);
    if (isYielded) {
      const renamed = producer.outputs.map((output) => (output === name ? source : output));
      graph.setOutputs(producer, renamed);
    } else {
      const floats = graph.consumersOf(name).filter((node) => !readers.int8.has(node));
      graph.replaceUses(name, result, new Set(isInt8 ? [] : floats));
    }
    const scale = this.#constant("float32", [], Float32Array.of(parameters.scale));
    const zeroPoint = this.#zeroPoints(this.#activations.type, [], parameters.zeroPoint);
    graph.addNode({
      opType: "QuantizeLinear",
      inputs: [source, scale, zeroPoint],
      outputs: [codes],
    });
    const dequantize = graph.addNode({
      opType: "DequantizeLinear",
      inputs: [codes, scale, zeroPoint],
      outputs: [result],
    });
    if (!isInt8) return;
    for (const node of graph.consumersOf(result)) {
      const channels = readers.perChannel.get(node);
      if (channels !== undefined && node.input(0) === result) {
        graph.setInput(node, 0, this.#perChannel(codes, parameters, channels));
      }
    }
    const isRead = graph.consumersOf(result).length > 0 || graph.isOutput(result);
    if (!isRead) graph.removeNode(dequantize);
  }

  /** The same values through one scale per channel. */
  #perChannel(
    codes: string,
    { scale, zeroPoint }: QuantizationParameters,
    { axis, count }: ChannelAxis,
  ): string {
    const output = this.#graph.uniqueName(`${codes}_channels`);
    const scales = this.#constant("float32", [count], new Float32Array(count).fill(scale));
    const zeroPoints = this.#zeroPoints(this.#activations.type, [count], zeroPoint);
    this.#graph.addNode({
      opType: "DequantizeLinear",
      inputs: [codes, scales, zeroPoints],
      outputs: [output],
      attributes: { axis: { int: axis } },
    });
    return output;
  }

  /** A constant of codes behind DequantizeLinear; returns the value to read. */
  dequantizedConstant(options: {
    readonly hint: string;
    readonly type: CodeType;
    readonly shape: readonly number[];
    readonly codes: Uint8Array | Int8Array | Int32Array;
    /** One scale, or one per entry of `axis`. */
    readonly scales: Float32Array;
    readonly zeroPoint: number;
    readonly axis: number;
  }): string {
    const { hint, type, shape, codes, scales, axis } = options;
    const graph = this.#graph;
    const name = graph.uniqueName(`${hint}_q`);
    graph.setInitializer(makeTensor({ name, type, shape, data: codes as never }));
    const perChannel = scales.length > 1;
    const dims = perChannel ? [scales.length] : [];
    const output = graph.uniqueName(`${hint}_dq`);
    graph.addNode({
      opType: "DequantizeLinear",
      inputs: [
        name,
        this.#constant("float32", dims, scales),
        this.#zeroPoints(type, dims, options.zeroPoint),
      ],
      outputs: [output],
      ...(perChannel ? { attributes: { axis: { int: axis } } } : {}),
    });
    return output;
  }

  /** The name of a constant that is the zero point everywhere. */
  #zeroPoints(type: CodeType, dims: readonly number[], zeroPoint: number): string {
    const array = codeArrays[type];
    return this.#constant(type, dims, new array(dims[0] ?? 1).fill(zeroPoint) as never);
  }

  /** The name of a constant with this content. */
  #constant<T extends StoredType>(type: T, shape: readonly number[], data: DataOf[T]): string {
    const key = `${type}[${shape}]${data.join()}`;
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    const name = this.#graph.uniqueName(`${type === "float32" ? "s" : "z"}${this.#constants.size}`);
    this.#graph.setInitializer(makeTensor({ name, type, shape, data }));
    this.#constants.set(key, name);
    return name;
  }
}
