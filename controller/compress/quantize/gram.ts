/**
 * What a layer's inputs look like over calibration data: G = mean of x · x^T, where x are the elements
 * that one output position multiplies by the weight. The output error of any rounding of the weight is
 * d^T · G · d, so rounding never has to run the layer.
 *
 * Per layer and group float64 [length, length]. Positions are drawn, one from each of equal parts of a
 * sample's output, by a seed that never changes: the same samples give the same bytes.
 *
 * Invariant: memory is bounded by `bytesMax` whatever the number of samples: layers are collected in
 * batches, in the order in which they are asked for, with one run over the samples for each batch.
 */
import { assert } from "../../../shared/assert.ts";
import { FleetError } from "../../../shared/errors.ts";
import { type Random, seededRandom } from "../../../shared/prng.ts";
import type { Model } from "../../onnx/model.ts";
import type { Node } from "../../onnx/node.ts";
import type { InputPatches } from "../../onnx/ops/input-patches.ts";
import { factOf } from "../../onnx/ops/registry.ts";
import { tensorShape } from "../../onnx/tensor.ts";
import { tapModel } from "../calibration/tap-model.ts";
import type { Feeds, Outputs, TensorValue, Workbench } from "../execute.ts";
import { type MatrixProducts, openProducts } from "./matrix-products.ts";
import type { LayerEvidence } from "./rounding/strategy.ts";
import type { Gram } from "./weight-rows.ts";

export interface GramOptions {
  readonly samplesMax: number;
  /** Layers with longer rows are left out: the cost of rounding grows with the cube of the length. */
  readonly lengthMax: number;
  /** Memory for one batch of layers. */
  readonly bytesMax: number;
}

/** 2,304 is a 3 x 3 kernel over 256 channels. */
export const gramDefaults: GramOptions = {
  samplesMax: 256,
  lengthMax: 2304,
  bytesMax: 256 * 2 ** 20,
};

/** Positions that are summed up by one product in the runtime. */
const chunkPositions = 128;

/** Positions of one sample: enough that 16 samples tell the channels of most layers apart. */
const samplePositionsMin = 64;

/** All samples together bring this many positions per element of x, or what they have. */
const positionsPerElement = 4;

const seed = 1;

export interface Grams {
  /** By the name of the layer's first output; undefined for a layer that was left out. */
  readonly of: (output: string) => Promise<LayerEvidence | undefined>;
  /** Layers that were left out, with the reason. */
  readonly leftOut: readonly string[];
  readonly close: () => Promise<void>;
}

export interface OpenGramsOptions {
  /** Not to be edited while it is observed; give a clone. */
  readonly model: Model;
  /** Nodes of the model with constant weights, in the order in which they will be asked for. */
  readonly nodes: readonly Node[];
  readonly workbench: Workbench;
  readonly options?: Partial<GramOptions>;
  readonly signal?: AbortSignal | undefined;
}

/** Whoever opens them closes them. `of` throws `calibration-failed` for samples that say nothing. */
export async function openGrams(options: OpenGramsOptions): Promise<Grams> {
  const limits = { ...gramDefaults, ...options.options };
  const { graph } = options.model;
  const leftOut: string[] = [];
  const pending = options.nodes.flatMap((node) => {
    const layer = describe(node, tensorShape(graph.constant(weightOf(node))!));
    const reason = refusal(layer, limits);
    if (reason !== undefined) leftOut.push(`${node.name || node.output(0)}: ${reason}`);
    return layer === undefined || reason !== undefined ? [] : [layer];
  });
  const products = await openProducts(options.workbench);
  let batch = new Map<string, Gram>();
  return {
    async of(output) {
      const start = pending.findIndex(({ node }) => node.output(0) === output);
      if (start < 0) return undefined;
      if (!batch.has(output)) {
        // The batch before is let go first: only one is held.
        batch = new Map();
        const layers = nextBatch(pending.slice(start), limits.bytesMax);
        batch = await collect(layers, products, options, limits);
      }
      return { gram: batch.get(output)!, products };
    },
    leftOut,
    close: products.close,
  };
}

interface Layer {
  readonly node: Node;
  readonly input: string;
  readonly weightShape: readonly number[];
  readonly groups: number;
  readonly length: number;
}

function describe(node: Node, weightShape: readonly number[]): Layer | undefined {
  const fact = factOf(node)?.weight;
  const layout = fact?.layout(node, weightShape);
  if (fact?.patches === undefined || layout === undefined) return undefined;
  const groups = node.int("group", 1);
  const length = layout.outer * layout.inner;
  return { node, input: node.input(0), weightShape, groups, length };
}

function refusal(layer: Layer | undefined, limits: GramOptions): string | undefined {
  if (layer === undefined) return "its weight has no rows";
  if (layer.length > limits.lengthMax) {
    return `rows of ${layer.length} weights, above ${limits.lengthMax}`;
  }
  if (bytesOf(layer) > limits.bytesMax) return "too many groups of long rows";
  return undefined;
}

function weightOf(node: Node): string {
  return node.input(factOf(node)!.weight!.input);
}

/** What is held for a layer: its sums, and one chunk of positions with its product. */
function bytesOf({ groups, length }: Layer): number {
  return groups * length * (12 * length + 4 * chunkPositions);
}

/** As many layers from the first on as memory allows, one at least. */
function nextBatch(layers: readonly Layer[], bytesMax: number): Layer[] {
  let bytes = 0;
  const end = layers.findIndex((layer) => {
    bytes += bytesOf(layer);
    return bytes > bytesMax;
  });
  return layers.slice(0, end < 0 ? layers.length : Math.max(end, 1));
}

async function collect(
  layers: readonly Layer[],
  products: MatrixProducts,
  { model, workbench, signal }: OpenGramsOptions,
  limits: GramOptions,
): Promise<Map<string, Gram>> {
  const inputs = layers.map(({ input }) => input);
  const tapped = await workbench.load(tapModel(model, inputs).encode());
  const sums = layers.map((layer) => new GramSum(layer, products, limits.samplesMax));
  let samples = 0;
  try {
    for await (const feeds of workbench.calibration()) {
      signal?.throwIfAborted();
      const outputs = await tapped.run(feeds);
      for (const sum of sums) await sum.add(inputOf(sum.layer, feeds, outputs));
      samples++;
      if (samples === limits.samplesMax) break;
    }
  } finally {
    await tapped.close();
  }
  const grams = new Map<string, Gram>();
  for (const sum of sums) grams.set(sum.layer.node.output(0), await sum.finish());
  return grams;
}

function inputOf({ input }: Layer, feeds: Feeds, outputs: Outputs): TensorValue {
  const value = outputs.get(input) ?? feeds.get(input);
  assert(value !== undefined, `the tapped model yields no ${input}`);
  return value;
}

/** Sums up x · x^T of one layer, a chunk of positions at a time. */
class GramSum {
  readonly layer: Layer;
  readonly #products: MatrixProducts;
  readonly #samplePositions: number;
  readonly #random: Random = seededRandom(seed);
  readonly #sums: Float64Array[];
  /** x^T: [groups, length, chunkPositions]. */
  readonly #chunk: Float32Array;
  #filled = 0;
  #positions = 0;

  constructor(layer: Layer, products: MatrixProducts, samplesMax: number) {
    const { groups, length } = layer;
    this.layer = layer;
    this.#products = products;
    const wanted = Math.ceil((positionsPerElement * length) / samplesMax);
    this.#samplePositions = Math.max(samplePositionsMin, wanted);
    this.#sums = Array.from({ length: groups }, () => new Float64Array(length * length));
    this.#chunk = new Float32Array(groups * length * chunkPositions);
  }

  /** One sample of the layer's input. */
  async add({ data, shape }: TensorValue): Promise<void> {
    const { node, weightShape } = this.layer;
    const patches = factOf(node)!.weight!.patches!(node, weightShape, shape);
    if (patches === undefined || !(data instanceof Float32Array)) throw this.#misfit(shape);
    for (const position of this.#draw(patches)) {
      const place = { offset: this.#filled, stride: chunkPositions };
      patches.write(data, position, this.#chunk, place);
      this.#filled++;
      if (this.#filled === chunkPositions) await this.#flush();
    }
  }

  /** The mean over all positions. Throws `calibration-failed`. */
  async finish(): Promise<Gram> {
    if (this.#filled > 0) await this.#flush();
    for (const sum of this.#sums) {
      for (let at = 0; at < sum.length; at++) sum[at]! /= this.#positions;
      if (!Number.isFinite(traceOf(sum, this.layer.length))) throw this.#saysNothing();
    }
    return this.#sums;
  }

  /** One position from each of equal parts of all; all of them where they are few. */
  #draw({ positions }: InputPatches): number[] {
    const count = Math.min(positions, this.#samplePositions);
    const part = positions / count;
    return Array.from({ length: count }, (_, at) =>
      count === positions ? at : Math.floor((at + this.#random.nextFloat()) * part),
    );
  }

  async #flush(): Promise<void> {
    const { groups, length } = this.layer;
    const operand = {
      data: this.#chunk,
      shape: [groups, length, chunkPositions] as const,
    };
    const sums = await this.#products.timesTransposed(operand, operand);
    this.#sums.forEach((sum, group) => {
      const start = group * length * length;
      for (let at = 0; at < sum.length; at++) sum[at]! += sums[start + at]!;
    });
    this.#positions += this.#filled;
    this.#filled = 0;
    // A chunk that is not full is followed by zeros, which add nothing.
    this.#chunk.fill(0);
  }

  #misfit(shape: readonly number[]): FleetError {
    const { node, weightShape, input } = this.layer;
    return new FleetError(
      "calibration-failed",
      `the input ${input} of shape [${shape}] does not fit the weight [${weightShape}] of ${node.name || node.output(0)}`,
      { details: { tensor: input } },
    );
  }

  #saysNothing(): FleetError {
    const { input } = this.layer;
    const why = this.#positions === 0 ? "there is no calibration data" : `${input} is not finite`;
    return new FleetError("calibration-failed", `${why}: check the samples and the model`, {
      details: { tensor: input },
    });
  }
}

function traceOf(matrix: Float64Array, length: number): number {
  let trace = 0;
  for (let at = 0; at < length; at++) trace += matrix[at * length + at]!;
  return trace;
}
