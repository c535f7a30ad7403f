/**
 * Weight-only quantization: activations stay float32 between layers and need no calibration.
 *
 * 1. MatMul(A, B) and Gemm(A, B, C), A float32 […, K], B constant float32 [K, N] (or [N, K] with transB):
 *    com.microsoft.MatMulNBits(A, codes, scales[, zero points][, , C]) with codes uint8
 *    [N, blocks, block · bits / 8], scales float32 [N · blocks], zero points packed per row. K is filled up
 *    to whole blocks. With accuracy_level 4 onnxruntime quantizes A to int8 per block and multiplies
 *    integers. A C that is not one value per column is added behind.
 * 2. Gather(table, indices) along axis 0, table constant float32 [V, D]: com.microsoft.
 *    GatherBlockQuantized on codes uint8 [V, D · bits / 8], scales [V, blocks]; only the rows asked for
 *    become floats.
 * 3. Convolutions, and with another `form` everything: a constant that the file holds as codes
 *    (`stored-constant.ts`); they compute in float32.
 * 4. A weight stays float when its file would not get smaller, when the operator's form has no kernel
 *    (transA, alpha, beta, a table gathered along another axis) or when `exclude` names its node.
 *
 * Of the forms, DequantizeLinear is the trap: in front of a two-dimensional MatMul with an Add behind,
 * onnxruntime makes a float Gemm first and computes the weight anew at every run, some 15 times slower.
 * Source: onnxruntime 1.30, docs/ContribOperators.md; matmul_nbits.cc, gather_block_quantized.cc.
 */
import { z } from "zod";
import { elementTypes } from "../../onnx/element-types.ts";
import type { Graph } from "../../onnx/graph.ts";
import type { Model } from "../../onnx/model.ts";
import type { Node } from "../../onnx/node.ts";
import type { ChannelLayout } from "../../onnx/ops/op-fact.ts";
import { factOf } from "../../onnx/ops/registry.ts";
import type { TensorProto } from "../../onnx/schema.ts";
import {
  floatTensor,
  makeTensor,
  tensorElements,
  tensorFloats,
  tensorShape,
} from "../../onnx/tensor.ts";
import { definePass, type PassContext, type PassResult, requiredWorkbench } from "../pass.ts";
import { blockScaleOption } from "../quantize/block-scale/registry.ts";
import type { BlockFormat, BlockScale, CodeBits } from "../quantize/block-scale/strategy.ts";
import { packRows, quantizeBlocks } from "../quantize/blocks.ts";
import { type Grams, openGrams } from "../quantize/gram.ts";
import { nodeLabel } from "../quantize/selection.ts";
import { addStoredConstant, type StoredForm, storedOpsetMin } from "../quantize/stored-constant.ts";
import { type Gram, weightRows } from "../quantize/weight-rows.ts";

const bitsOption = z.union([z.literal(2), z.literal(4), z.literal(8)]);

/** matmul_nbits.cc and gather_block_quantized.cc: a power of two from 16 on. */
const blockSizes = [16, 32, 64, 128, 256] as const;
const blockSizeMin = blockSizes[0];

const options = z
  .strictObject({
    /** Bits per weight of matrix products and embeddings. */
    bits: bitsOption.default(8),
    /** Bits per weight of convolutions; 0 leaves them alone. */
    convolutionBits: z.union([z.literal(0), z.literal(4), z.literal(8)]).default(8),
    form: z.enum(["matmul-nbits", "cast", "dequantize-linear"]).default("matmul-nbits"),
    /** Weights that share a scale; 128 for 8 bits and 32 below. Short rows get the next power of two. */
    blockSize: z.literal(blockSizes).optional(),
    /** False gives each block a zero point: a bit more accurate, a bit larger. */
    symmetric: z.boolean().default(true),
    /** How scales are chosen; without it min-max for 8 bits and mse below. */
    blockScale: blockScaleOption.optional(),
    /**
     * Error feedback looks at what layers read on calibration samples, so that what one weight loses
     * others make good; embeddings and layers with very long rows are rounded to the nearest anyway.
     */
    rounding: z.enum(["nearest", "error-feedback"]).default("nearest"),
    /** 4 multiplies integers; 0 multiplies floats, which is slower and keeps activations exact. */
    accuracyLevel: z.union([z.literal(0), z.literal(4)]).default(4),
    embeddings: z.boolean().default(true),
    /** Names of nodes that stay float. */
    exclude: z.array(z.string()).default([]),
  })
  .superRefine(({ bits, form }, context) => {
    if (bits !== 2 || form === "matmul-nbits") return;
    const message = "2 bits exist only as matmul-nbits: choose that form, or 4 bits";
    context.addIssue({ code: "custom", path: ["bits"], message });
  });

type Options = z.output<typeof options>;

export const quantizeWeights = definePass({
  name: "quantize-weights",
  summary:
    "Weight-only 8, 4 or 2 bits for products and embeddings, 8-bit storage for convolutions.",
  options,
  tolerance: { kind: "signal", decibelMin: 25 },
  notApplicable(model, pass) {
    const { chosen, kept } = planWeights(model.graph, pass);
    if (chosen.length > 0) return undefined;
    return kept[0] ?? "no operator with a constant float32 weight would get smaller";
  },
  requires(model, pass) {
    const { chosen } = planWeights(model.graph, pass);
    const needed = Math.max(0, ...chosen.map(({ opsetMin }) => opsetMin));
    if (model.opset >= needed) return undefined;
    return `operator set ${needed} is needed, the model has ${model.opset}: run convert-opset with target ${needed} before`;
  },
  needsSamples: ({ rounding }) => rounding !== "nearest",
  run: rewriteAll,
});

/** What becomes of a weight. */
interface Choice {
  readonly node: Node;
  readonly kind: "product" | "embedding" | "stored";
  readonly weightInput: number;
  readonly shape: readonly number[];
  readonly layout: ChannelLayout;
  readonly bits: CodeBits;
  /** Operator set that the result needs. */
  readonly opsetMin: number;
}

interface WeightPlan {
  readonly chosen: readonly Choice[];
  /** `node: reason` of those that stay float. */
  readonly kept: readonly string[];
}

// ── deciding ────────────────────────────────────────────────────────────────────────────────────

function planWeights(graph: Graph, pass: Options): WeightPlan {
  const types = elementTypes(graph);
  const chosen: Choice[] = [];
  const kept: string[] = [];
  for (const node of graph.sortedNodes()) {
    const weightInput = weightInputOf(node, pass);
    const tensor = weightInput === undefined ? undefined : graph.constant(node.input(weightInput));
    if (tensor === undefined || types.get(node.input(weightInput!)) !== "float32") continue;
    const isFloat = types.get(node.output(0)) === "float32";
    const choice = isFloat ? choose(node, weightInput!, tensor, pass) : "it does not yield float32";
    if (typeof choice === "string") kept.push(`${nodeLabel(node)}: ${choice}`);
    else chosen.push(choice);
  }
  return { chosen, kept };
}

function weightInputOf(node: Node, pass: Options): number | undefined {
  if (node.is("Gather")) return pass.embeddings ? 0 : undefined;
  return factOf(node)?.weight?.input;
}

/** What to do with a weight, or why it stays as it is. */
function choose(
  node: Node,
  weightInput: number,
  tensor: TensorProto,
  pass: Options,
): Choice | string {
  if (pass.exclude.includes(node.name)) return "the recipe excludes it";
  const shape = tensorShape(tensor);
  const layout = layoutOf(node, shape);
  if (layout === undefined) return "this form of the operator has no kernel for codes";
  const isConvolution = factOf(node)?.weight?.channelsLast !== true && !node.is("Gather");
  const bits = isConvolution ? pass.convolutionBits : pass.bits;
  if (bits === 0) return "convolutions are left alone";
  const nbits = pass.form === "matmul-nbits" && !isConvolution;
  const form = storedForm(pass);
  const kind = !nbits ? "stored" : node.is("Gather") ? "embedding" : "product";
  const opsetMin = bits === 2 || nbits ? 1 : storedOpsetMin(form, bits);
  const choice = { node, kind, weightInput, shape, layout, bits, opsetMin } as const;
  const refusal = sizeRefusal(choice, tensorElements(tensor), pass);
  return refusal ?? choice;
}

/** The weight as rows; undefined for forms of an operator that are left alone. */
function layoutOf(node: Node, shape: readonly number[]): ChannelLayout | undefined {
  if (node.is("Gather")) {
    const isRows = node.int("axis", 0) === 0 && shape.length === 2;
    return isRows
      ? { groups: 1, outer: 1, channels: shape[0]!, inner: shape[1]!, axis: 0 }
      : undefined;
  }
  if (node.int("transA", 0) !== 0) return undefined;
  const layout = factOf(node)!.weight!.layout(node, shape);
  return layout?.groups === 1 ? layout : undefined;
}

/** Bytes that names, nodes and dims of a quantized weight add, measured on compact files. */
const overheadBytes = 60;

function sizeRefusal(choice: Choice, elements: number, pass: Options): string | undefined {
  const length = choice.layout.outer * choice.layout.inner;
  const { blockSize } = formatFor(choice, pass);
  const perRow = Math.ceil(length / blockSize);
  const isByteAligned = (length * choice.bits) % 8 === 0;
  if (choice.kind === "embedding" && !isByteAligned) return "its rows are not whole bytes";
  const codeBytes = (perRow * blockSize * choice.bits) / 8;
  const bytes = choice.layout.channels * (codeBytes + perRow * 4) + overheadBytes;
  if (bytes < elements * 4) return undefined;
  return `its ${elements * 4} bytes would not get fewer`;
}

/** The blocks of a weight: those asked for, or the power of two that just holds a short row. */
function formatFor({ kind, bits, layout }: Choice, pass: Options): BlockFormat {
  const { symmetric } = pass;
  const length = layout.outer * layout.inner;
  const wanted = pass.blockSize ?? (bits === 8 ? 128 : 32);
  if (kind === "stored") {
    return { bits, symmetric, blockSize: bits === 8 ? length : evenBlock(length, wanted) };
  }
  // The 2-bit kernel computes in floats for blocks of 16 (measured on onnxruntime 1.30).
  const least = bits === 2 ? 32 : blockSizeMin;
  const asked = Math.max(wanted, least);
  const fitting = blockSizes.find((size) => size >= Math.max(length, least)) ?? asked;
  return { bits, symmetric, blockSize: Math.min(asked, fitting) };
}

/** The largest block up to `wanted` that cuts a row evenly; the whole row where there is none. */
function evenBlock(length: number, wanted: number): number {
  for (let size = wanted; size >= blockSizeMin; size--) if (length % size === 0) return size;
  return length;
}

function storedForm({ form }: Options): StoredForm {
  return form === "matmul-nbits" ? "cast" : form;
}

function strategyFor(bits: CodeBits, pass: Options): BlockScale {
  const strategy = bits === 8 ? "min-max" : "mse";
  return pass.blockScale ?? blockScaleOption.parse({ strategy });
}

// ── rewriting ───────────────────────────────────────────────────────────────────────────────────

async function rewriteAll(context: PassContext, model: Model, pass: Options): Promise<PassResult> {
  const { graph } = model;
  const { chosen, kept } = planWeights(graph, pass);
  const shared = new Map<string, string[]>();
  const grams = await openedGrams(context, model.clone(), chosen, pass);
  try {
    for (const choice of chosen) {
      const weight = choice.node.input(choice.weightInput);
      const { axis } = choice.layout;
      const key = [choice.kind, weight, axis].join();
      const evidence = await grams?.of(choice.node.output(0));
      const constants = shared.get(key) ?? addConstants(graph, choice, pass, evidence?.gram);
      shared.set(key, constants);
      rewriters[choice.kind](graph, choice, constants, pass);
    }
  } finally {
    await grams?.close();
  }
  for (const name of [...graph.initializers.keys()]) {
    const isRead = graph.consumersOf(name).length > 0;
    if (!isRead && !graph.isOutput(name) && !graph.isInput(name)) graph.removeInitializer(name);
  }
  if (chosen.some(({ kind }) => kind !== "stored")) model.setOpset("com.microsoft", 1);
  const count = (kind: Choice["kind"]): number =>
    chosen.filter((choice) => choice.kind === kind).length;
  return {
    modified: chosen.length > 0,
    report: {
      products: count("product"),
      embeddings: count("embedding"),
      stored: count("stored"),
      kept,
      ...(grams === undefined ? {} : { roundedToNearest: grams.leftOut }),
    },
  };
}

/** What rounding wants to know of the layers' inputs; undefined when it wants nothing. */
async function openedGrams(
  context: PassContext,
  model: Model,
  chosen: readonly Choice[],
  { rounding }: Options,
): Promise<Grams | undefined> {
  if (rounding === "nearest") return undefined;
  const nodes = chosen.flatMap(({ kind, node }) =>
    kind === "embedding" || node.is("Gather") ? [] : [model.graph.producerOf(node.output(0))!],
  );
  const workbench = requiredWorkbench(context);
  return openGrams({ model, nodes, workbench, signal: context.signal });
}

/** The weight in its new form: names of codes, scales and zero points, or of one stored constant. */
function addConstants(
  graph: Graph,
  choice: Choice,
  pass: Options,
  gram: Gram | undefined,
): string[] {
  const { kind, node, weightInput, shape, layout, bits } = choice;
  const hint = node.input(weightInput);
  const values = tensorFloats(graph.constant(hint)!);
  const format = formatFor(choice, pass);
  const strategy = strategyFor(bits, pass);
  if (kind === "stored") {
    const { blockSize, symmetric } = format;
    const form = storedForm(pass);
    const stored = { hint, values, shape, layout, bits: bits as 4 | 8, symmetric, blockSize };
    return [addStoredConstant(graph, { ...stored, strategy, form, gram })];
  }
  return addBlocks(graph, choice, { hint, values, format, strategy, gram });
}

function addBlocks(
  graph: Graph,
  { kind, layout }: Choice,
  source: {
    readonly hint: string;
    readonly values: Float32Array;
    readonly format: BlockFormat;
    readonly strategy: BlockScale;
    readonly gram: Gram | undefined;
  },
): string[] {
  const { hint, format } = source;
  const { bits, blockSize, symmetric } = format;
  const rows = weightRows(source.values, layout);
  const coded = quantizeBlocks(rows, format, source.strategy, source.gram);
  const { codes, scales, zeroPoints, blocks } = coded;
  const { channels, length } = rows;
  const isTable = kind === "embedding";
  // A table ends with its rows; a product's rows are filled up to whole blocks.
  const stored = isTable ? cutRows(codes, blocks * blockSize, length) : codes;
  const blockBytes = (blockSize * bits) / 8;
  const codeShape = isTable ? [channels, (length * bits) / 8] : [channels, blocks, blockBytes];
  const add = (part: string, shape: readonly number[], data: Uint8Array): string => {
    const name = graph.uniqueName(`${hint}_${part}`);
    return graph.setInitializer(makeTensor({ name, type: "uint8", shape, data }));
  };
  const packed = packRows(stored, isTable ? length : blocks * blockSize, bits);
  const scaleShape = isTable ? [channels, blocks] : [channels * blocks];
  const scaleName = graph.uniqueName(`${hint}_s`);
  const names = [
    add("q", codeShape, packed),
    graph.setInitializer(floatTensor(scaleName, scaleShape, scales)),
  ];
  if (symmetric) return names;
  const packedZeros = packRows(zeroPoints, blocks, bits);
  const rowBytes = packedZeros.length / channels;
  return [...names, add("z", isTable ? [channels, rowBytes] : [packedZeros.length], packedZeros)];
}

/** The first `length` codes of each row. */
function cutRows(codes: Uint8Array, rowLength: number, length: number): Uint8Array {
  if (rowLength === length) return codes;
  const cut = new Uint8Array((codes.length / rowLength) * length);
  for (let row = 0; row * rowLength < codes.length; row++) {
    cut.set(codes.subarray(row * rowLength, row * rowLength + length), row * length);
  }
  return cut;
}

type Rewriter = (graph: Graph, choice: Choice, constants: readonly string[], pass: Options) => void;

const rewriters: Readonly<Record<Choice["kind"], Rewriter>> = {
  stored(graph, { node, weightInput }, [constant]) {
    graph.setInput(node, weightInput, constant!);
  },
  embedding(graph, choice, [codes, scales, zeroPoints = ""], pass) {
    const { node, bits } = choice;
    graph.removeNode(node);
    graph.addNode({
      opType: "GatherBlockQuantized",
      domain: "com.microsoft",
      name: node.name,
      inputs: [codes!, node.input(1), scales!, ...(zeroPoints === "" ? [] : [zeroPoints])],
      outputs: [node.output(0)],
      attributes: {
        bits: { int: bits },
        block_size: { int: formatFor(choice, pass).blockSize },
        gather_axis: { int: 0 },
        quantize_axis: { int: 1 },
      },
    });
  },
  product(graph, choice, [codes, scales, zeroPoints = ""], pass) {
    const { node, layout, bits } = choice;
    const bias = biasRow(graph, node, layout.channels);
    const output = node.output(0);
    const isAdded = node.input(2) !== "" && bias === undefined;
    const product = isAdded ? graph.uniqueName(`${output}_product`) : output;
    graph.removeNode(node);
    const inputs = [node.input(0), codes!, scales!, zeroPoints, "", bias ?? ""];
    graph.addNode({
      opType: "MatMulNBits",
      domain: "com.microsoft",
      name: node.name,
      inputs: inputs.slice(0, inputs.findLastIndex((name) => name !== "") + 1),
      outputs: [product],
      attributes: {
        K: { int: layout.outer * layout.inner },
        N: { int: layout.channels },
        accuracy_level: { int: pass.accuracyLevel },
        bits: { int: bits },
        block_size: { int: formatFor(choice, pass).blockSize },
      },
    });
    if (isAdded) {
      graph.addNode({ opType: "Add", inputs: [product, node.input(2)], outputs: [output] });
    }
  },
};

/** A Gemm's C as the [N] that MatMulNBits adds; undefined when it has none or another shape. */
function biasRow(graph: Graph, node: Node, columns: number): string | undefined {
  const name = node.input(2);
  const tensor = name === "" ? undefined : graph.constant(name);
  if (tensor === undefined || tensorElements(tensor) !== columns) return undefined;
  const shape = tensorShape(tensor);
  if (shape.at(-1) !== columns) return undefined;
  if (shape.length === 1) return name;
  const row = floatTensor(graph.uniqueName(`${name}_row`), [columns], tensorFloats(tensor));
  return graph.setInitializer(row);
}
