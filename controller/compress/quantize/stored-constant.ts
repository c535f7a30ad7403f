/**
 * A float32 constant that the file holds as 8- or 4-bit codes, in operators of ONNX's own set.
 *
 * 1. `cast`: Mul(Cast(codes), scales), Cast(codes) - Cast(zero points) where they are not symmetric. The
 *    runtime computes it once when it loads the model, so the model then runs as fast as the float one
 *    and takes as much memory.
 * 2. `dequantize-linear`: DequantizeLinear(codes, scales, zero points), for runtimes that know what to do
 *    with it. onnxruntime 1.30 computes the floats at every run: convolutions took 1.6 times as long, a
 *    GRU 1.1 times, and memory was a few megabytes more than with floats.
 *
 * A channel is one block, or with `blockSize` several; blocks of more than one per channel are followed
 * by a Reshape where their shape is not that of the weight. A weight without an axis of its channels
 * ([directions, rows, K] of recurrent nets) has them along all axes but the last.
 * Shapes for channels first [C, …]: codes [C, blocks, size], scales [C, blocks, 1]; for channels last
 * [K, C]: codes [blocks, size, C], scales [blocks, 1, C].
 */
import type { AttributeInputs } from "../../onnx/build.ts";
import { dataTypes } from "../../onnx/data-type.ts";
import type { Graph } from "../../onnx/graph.ts";
import type { ChannelLayout } from "../../onnx/ops/op-fact.ts";
import { floatTensor, intTensor, makeTensor } from "../../onnx/tensor.ts";
import type { BlockFormat, BlockScale } from "./block-scale/strategy.ts";
import { type BlockCodes, packRows, quantizeBlocks } from "./blocks.ts";
import { type Gram, toLayout, weightRows } from "./weight-rows.ts";

export type StoredForm = "cast" | "dequantize-linear";

export interface StoredConstant {
  /** What its names begin with. */
  readonly hint: string;
  readonly values: Float32Array;
  readonly shape: readonly number[];
  /** One group. Its `axis` counts the channels, or else the leading axes together do. */
  readonly layout: ChannelLayout;
  readonly bits: 4 | 8;
  readonly symmetric: boolean;
  /** Values per block of a channel; the whole channel when it cannot be cut into such blocks evenly. */
  readonly blockSize?: number | undefined;
  readonly strategy: BlockScale;
  /** As in `quantizeBlocks`. */
  readonly gram?: Gram | undefined;
  readonly form: StoredForm;
}

/** The operator set that a stored constant needs (ONNX, docs/Changelog.md, Cast and DequantizeLinear). */
export function storedOpsetMin(form: StoredForm, bits: 4 | 8): number {
  if (bits === 4) return 21;
  return form === "cast" ? 9 : 13;
}

/** Adds the constant to the graph and returns the value that holds its floats. */
export function addStoredConstant(graph: Graph, constant: StoredConstant): string {
  const { layout, values, bits, symmetric, strategy, form } = constant;
  const rows = weightRows(values, layout);
  const asked = constant.blockSize ?? rows.length;
  const isCuttable = (layout.outer === 1 || layout.inner === 1) && rows.length % asked === 0;
  const blockSize = isCuttable ? asked : rows.length;
  const format: BlockFormat = { bits, blockSize, symmetric };
  const coded = quantizeBlocks(rows, format, strategy, constant.gram);
  const parts = new Parts(graph, constant, format, coded);
  const floats = form === "cast" ? parts.addCast() : parts.addDequantizeLinear();
  return parts.reshaped(floats);
}

class Parts {
  readonly #graph: Graph;
  readonly #constant: StoredConstant;
  readonly #format: BlockFormat;
  readonly #coded: BlockCodes;
  /** Codes in the weight's own order, and scales and zero points in theirs. */
  readonly #channelsFirst: boolean;

  constructor(graph: Graph, constant: StoredConstant, format: BlockFormat, coded: BlockCodes) {
    this.#graph = graph;
    this.#constant = constant;
    this.#format = format;
    this.#coded = coded;
    this.#channelsFirst = constant.layout.outer === 1;
  }

  addCast(): string {
    const floats = this.#cast(this.#codes(this.#castShape(this.#format.blockSize)));
    const centred = this.#format.symmetric
      ? floats
      : this.#add("Sub", [floats, this.#cast(this.#zeroPoints(this.#castShape(1)))]);
    return this.#add("Mul", [centred, this.#scales(this.#castShape(1))]);
  }

  addDequantizeLinear(): string {
    const { blocks } = this.#coded;
    const { blockSize, symmetric } = this.#format;
    const { layout } = this.#constant;
    const { channels } = layout;
    const isWhole = blocks === 1;
    const first = this.#channelsFirst;
    const scaleShape = isWhole ? [channels] : first ? [channels, blocks] : [blocks, channels];
    const inputs = [this.#codes(this.#dequantizeShape()), this.#scales(scaleShape)];
    if (!symmetric) inputs.push(this.#zeroPoints(scaleShape));
    const wholeAxis = this.#hasChannelAxis() ? layout.axis : 0;
    const attributes: AttributeInputs = isWhole
      ? { axis: { int: wholeAxis } }
      : { axis: { int: first ? 1 : 0 }, block_size: { int: blockSize } };
    const output = this.#graph.uniqueName(`${this.#constant.hint}_dq`);
    this.#graph.addNode({ opType: "DequantizeLinear", inputs, outputs: [output], attributes });
    return output;
  }

  /** The weight's own shape, where the codes have another one. */
  reshaped(floats: string): string {
    const { shape, hint, form } = this.#constant;
    const coded =
      form === "cast" ? this.#castShape(this.#format.blockSize) : this.#dequantizeShape();
    if (coded.join() === shape.join()) return floats;
    const target = this.#graph.uniqueName(`${hint}_shape`);
    return this.#add("Reshape", [floats, this.#graph.setInitializer(intTensor(target, shape))]);
  }

  /** [C, blocks, size] or [blocks, size, C]; one block keeps the shape of the weight. */
  #castShape(size: number): number[] {
    const { blocks } = this.#coded;
    const { layout, shape } = this.#constant;
    const { channels } = layout;
    if (blocks > 1)
      return this.#channelsFirst ? [channels, blocks, size] : [blocks, size, channels];
    if (size !== 1 || this.#format.blockSize === 1) return [...shape];
    if (this.#hasChannelAxis()) return shape.map((dim, axis) => (axis === layout.axis ? dim : 1));
    return [...shape.slice(0, -1), 1];
  }

  /** The weight's shape, or [C, length] where the weight has no axis of its channels. */
  #dequantizeShape(): number[] {
    const { blocks, codes } = this.#coded;
    const { layout, shape } = this.#constant;
    const isOwn = blocks === 1 ? this.#hasChannelAxis() : !this.#channelsFirst;
    return isOwn ? [...shape] : [layout.channels, codes.length / layout.channels];
  }

  #hasChannelAxis(): boolean {
    const { layout, shape } = this.#constant;
    return shape[layout.axis] === layout.channels;
  }

  #codes(shape: readonly number[]): string {
    const { values, layout } = this.#constant;
    const own = toLayout(Int16Array.from(this.#coded.codes), layout).subarray(0, values.length);
    return this.#integers("q", shape, Uint8Array.from(own));
  }

  #zeroPoints(shape: readonly number[]): string {
    return this.#integers("z", shape, this.#perBlock(this.#coded.zeroPoints));
  }

  #scales(shape: readonly number[]): string {
    const name = this.#graph.uniqueName(`${this.#constant.hint}_s`);
    return this.#graph.setInitializer(floatTensor(name, shape, this.#perBlock(this.#coded.scales)));
  }

  /** [C, blocks] as it is, or turned into [blocks, C]. */
  #perBlock<T extends Uint8Array | Float32Array>(values: T): T {
    const { blocks } = this.#coded;
    if (this.#channelsFirst || blocks === 1) return values;
    const channels = values.length / blocks;
    return values.map(
      (_, at) => values[(at % channels) * blocks + Math.floor(at / channels)]!,
    ) as T;
  }

  /** Unsigned codes, or signed ones around 0 when they are symmetric. */
  #integers(part: string, shape: readonly number[], codes: Uint8Array): string {
    const { bits, symmetric } = this.#format;
    const name = this.#graph.uniqueName(`${this.#constant.hint}_${part}`);
    const middle = symmetric ? 2 ** (bits - 1) : 0;
    const mask = 2 ** bits - 1;
    const stored = codes.map((code) => (code - middle) & mask);
    const tensor =
      bits === 4
        ? makeTensor({
            name,
            type: symmetric ? "int4" : "uint4",
            shape,
            data: packRows(stored, stored.length, 4),
          })
        : symmetric
          ? makeTensor({ name, type: "int8", shape, data: new Int8Array(stored.buffer) })
          : makeTensor({ name, type: "uint8", shape, data: stored });
    return this.#graph.setInitializer(tensor);
  }

  #cast(integers: string): string {
    const output = this.#graph.uniqueName(`${integers}_f`);
    this.#graph.addNode({
      opType: "Cast",
      inputs: [integers],
      outputs: [output],
      attributes: { to: { int: dataTypes.float32.code } },
    });
    return output;
  }

  #add(opType: string, inputs: readonly string[]): string {
    const output = this.#graph.uniqueName(`${this.#constant.hint}_${opType.toLowerCase()}`);
    this.#graph.addNode({ opType, inputs, outputs: [output] });
    return output;
  }
}
