/**
 * Writes QuantizeLinear and DequantizeLinear nodes and their constants into a graph. Equal scales and
 * zero points are stored once: on small nets they would otherwise be most of the file.
 */
import type { DataOf } from "../../onnx/data-type.ts";
import type { Graph } from "../../onnx/graph.ts";
import type { Node } from "../../onnx/node.ts";
import { makeTensor } from "../../onnx/tensor.ts";
import type { ActivationFormat, QuantizationParameters } from "./scale.ts";

type CodeType = "uint8" | "int8" | "int32";

type StoredType = "float32" | CodeType;

const codeArrays = { int32: Int32Array, int8: Int8Array, uint8: Uint8Array };

export class QdqWriter {
  readonly #graph: Graph;
  readonly #constants = new Map<string, string>();

  readonly #activations: ActivationFormat;

  constructor(graph: Graph, activations: ActivationFormat) {
    this.#graph = graph;
    this.#activations = activations;
  }

  /**
   * Puts QuantizeLinear and DequantizeLinear behind a value; every reader, float ones too, reads the
   * result, or else onnxruntime finds the producer's output read twice and leaves it float. A value
   * that the graph yields keeps its name at the end of the pair.
   */
  quantizeValue(name: string, parameters: QuantizationParameters): void {
    const graph = this.#graph;
    const producer = graph.producerOf(name);
    const isYielded = graph.isOutput(name) && producer !== undefined;
    const codes = graph.uniqueName(`${name}_q`);
    if (!isYielded) {
      const result = graph.uniqueName(`${name}_dq`);
      graph.replaceUses(name, result);
      this.#addPair(name, codes, result, parameters);
      return;
    }
    const raw = graph.uniqueName(`${name}_f`);
    graph.setOutputs(
      producer,
      producer.outputs.map((output) => (output === name ? raw : output)),
    );
    this.#addPair(raw, codes, name, parameters);
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

  #addPair(from: string, codes: string, to: string, parameters: QuantizationParameters): Node {
    const scale = this.#constant("float32", [], Float32Array.of(parameters.scale));
    const zeroPoint = this.#zeroPoints(this.#activations.type, [], parameters.zeroPoint);
    this.#graph.addNode({
      opType: "QuantizeLinear",
      inputs: [from, scale, zeroPoint],
      outputs: [codes],
    });
    return this.#graph.addNode({
      opType: "DequantizeLinear",
      inputs: [codes, scale, zeroPoint],
      outputs: [to],
    });
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
