/**
 * Quantizes recurrent nets. W float32 [directions, gates · hidden, input] and R float32 [directions,
 * gates · hidden, hidden] get one int8 scale per row; biases, peepholes and states stay float32.
 *
 * 1. LSTM, unless `lstm` says stored: com.microsoft.DynamicQuantizeLSTM with W and R turned round to
 *    [directions, input or hidden, 4 · hidden], scales and zero points [directions, 4 · hidden], or
 *    [directions] without `perChannel`, which is less exact and a little faster. X and the hidden state are
 *    quantized at run time, the products are integers. It has no `layout`: an LSTM of layout 1 is stored.
 * 2. GRU, RNN and other LSTM: W and R become constants that the file holds as int8 (`stored-constant.ts`);
 *    the operator computes in float32.
 * 3. A node stays float when its file would not get smaller or when `exclude` names it.
 *
 * Rejected: a GRU unrolled into int8 products, which computes its recurrence in 13 small operators a step.
 * On onnxruntime 1.30, 50 steps, one thread, it took 344 µs where the float GRU takes 130 at 128 hidden
 * values, 749 against 608 at 256, and only at 512 was it faster, 1,535 against 2,394. No kernel of the
 * runtime multiplies integers within a GRU or RNN.
 * Source: onnxruntime 1.30, dynamic_quantize_lstm.cc; ONNX opset 14 LSTM, GRU and RNN.
 */
import { z } from "zod";
import { elementTypes } from "../../onnx/element-types.ts";
import type { Graph } from "../../onnx/graph.ts";
import type { Model } from "../../onnx/model.ts";
import type { Node } from "../../onnx/node.ts";
import type { ChannelLayout } from "../../onnx/ops/op-fact.ts";
import { floatTensor, makeTensor, tensorFloats, tensorShape } from "../../onnx/tensor.ts";
import { definePass, type PassResult } from "../pass.ts";
import { blockScaleOption } from "../quantize/block-scale/registry.ts";
import { channelMagnitudes, quantizeWeights, weightCodes, weightScale } from "../quantize/scale.ts";
import { nodeLabel } from "../quantize/selection.ts";
import { addStoredConstant, storedOpsetMin } from "../quantize/stored-constant.ts";

const options = z.strictObject({
  /** `dynamic` multiplies integers, `stored` only makes the file smaller. */
  lstm: z.enum(["dynamic", "stored"]).default("dynamic"),
  /** How stored weights become floats: once at load, or at every run. */
  form: z.enum(["cast", "dequantize-linear"]).default("cast"),
  /** One scale per row in dynamic LSTM, or one for all; stored weights have one per row. */
  perChannel: z.boolean().default(true),
  /** Weights of 7 bits in dynamic LSTM, for x86 without VNNI, whose 16-bit sums would saturate. */
  reduceRange: z.boolean().default(false),
  /** Names of nodes that stay float. */
  exclude: z.array(z.string()).default([]),
});

type Options = z.output<typeof options>;

export const quantizeRecurrent = definePass({
  name: "quantize-recurrent",
  summary: "int8 weights for LSTM, GRU and RNN; LSTM also multiplies integers.",
  options,
  tolerance: { kind: "signal", decibelMin: 25 },
  notApplicable(model, pass) {
    const { chosen, kept } = planRecurrent(model.graph, pass);
    if (chosen.length > 0) return undefined;
    return kept[0] ?? "no LSTM, GRU or RNN has constant float32 weights";
  },
  requires(model, pass) {
    const { chosen } = planRecurrent(model.graph, pass);
    const isStored = chosen.some(({ kind }) => kind === "stored");
    const needed = isStored ? storedOpsetMin(pass.form, 8) : 1;
    if (model.opset >= needed) return undefined;
    return `operator set ${needed} is needed, the model has ${model.opset}: run convert-opset before`;
  },
  run: (_context, model, pass) => rewriteAll(model, pass),
});

interface Choice {
  readonly node: Node;
  readonly kind: "dynamic" | "stored";
}

/** Positions of W and R (ONNX opset 14 LSTM, GRU, RNN). */
const weightInputs = [1, 2] as const;

const recurrentOps: ReadonlySet<string> = new Set(["GRU", "LSTM", "RNN"]);

// ── deciding ────────────────────────────────────────────────────────────────────────────────────

function planRecurrent(graph: Graph, pass: Options) {
  const types = elementTypes(graph);
  const chosen: Choice[] = [];
  const kept: string[] = [];
  for (const node of graph.sortedNodes()) {
    if (node.domain !== "" || !recurrentOps.has(node.opType)) continue;
    const isFloat = node.inputs.slice(0, 3).every((name) => types.get(name) === "float32");
    const isConstant = weightInputs.every((index) => graph.constant(node.input(index)));
    if (!isFloat || !isConstant) continue;
    const refusal = refusalOf(graph, node, pass);
    if (refusal !== undefined) kept.push(`${nodeLabel(node)}: ${refusal}`);
    else chosen.push({ node, kind: kindOf(node, pass) });
  }
  return { chosen, kept };
}

function kindOf(node: Node, pass: Options): Choice["kind"] {
  const hasKernel = node.is("LSTM") && node.int("layout", 0) === 0;
  return hasKernel ? pass.lstm : "stored";
}

/** Bytes that names, nodes and dims of a quantized weight add, measured on compact files. */
const overheadBytes = 60;

function refusalOf(graph: Graph, node: Node, pass: Options): string | undefined {
  if (pass.exclude.includes(node.name)) return "the recipe excludes it";
  let [before, after] = [0, 0];
  for (const index of weightInputs) {
    const shape = tensorShape(graph.constant(node.input(index))!);
    if (shape.length !== 3) return `its weights have ${shape.length} dims where 3 are due`;
    const { channels, inner } = rowsOf(shape);
    before += channels * inner * 4;
    after += channels * (inner + 4) + overheadBytes;
  }
  return after < before ? undefined : `its ${before} bytes of weights would not get fewer`;
}

/** Each row [input] of each direction is a channel. */
function rowsOf(shape: readonly number[]): ChannelLayout {
  const [directions, rows, inner] = shape as readonly [number, number, number];
  return { groups: 1, outer: 1, channels: directions * rows, inner, axis: 1 };
}

// ── rewriting ───────────────────────────────────────────────────────────────────────────────────

function rewriteAll(model: Model, pass: Options): PassResult {
  const { graph } = model;
  const { chosen, kept } = planRecurrent(graph, pass);
  const weights = chosen.flatMap(({ node }) => weightInputs.map((index) => node.input(index)));
  for (const { node, kind } of chosen) {
    if (kind === "dynamic") makeDynamic(graph, node, pass);
    else makeStored(graph, node, pass);
  }
  for (const name of weights) {
    const isRead = graph.consumersOf(name).length > 0 || graph.isOutput(name);
    if (!isRead) graph.removeInitializer(name);
  }
  const count = (kind: Choice["kind"]): number =>
    chosen.filter((choice) => choice.kind === kind).length;
  if (count("dynamic") > 0) model.setOpset("com.microsoft", 1);
  return {
    modified: chosen.length > 0,
    report: { dynamic: count("dynamic"), stored: count("stored"), kept },
  };
}

function makeStored(graph: Graph, node: Node, { form }: Options): void {
  const strategy = blockScaleOption.parse({ strategy: "min-max" });
  for (const index of weightInputs) {
    const hint = node.input(index);
    const tensor = graph.constant(hint)!;
    const shape = tensorShape(tensor);
    const values = tensorFloats(tensor);
    const constant = { hint, values, shape, layout: rowsOf(shape), strategy, form } as const;
    const stored = addStoredConstant(graph, { ...constant, bits: 8, symmetric: true });
    graph.setInput(node, index, stored);
  }
}

function makeDynamic(graph: Graph, node: Node, pass: Options): void {
  const [w, r] = weightInputs.map((index) => addTurned(graph, node.input(index), pass));
  const [, , , ...others] = node.inputs;
  const optional = Array.from({ length: 5 }, (_, index) => others[index] ?? "");
  graph.removeNode(node);
  graph.addNode({
    opType: "DynamicQuantizeLSTM",
    domain: "com.microsoft",
    name: node.name,
    inputs: [
      node.input(0),
      w!.codes,
      r!.codes,
      ...optional,
      ...[w!.scales, w!.zeroPoints, r!.scales, r!.zeroPoints],
    ],
    outputs: node.outputs,
    copiedAttributes: node.proto.attribute.filter(({ name }) => name !== "layout"),
  });
}

/** int8 [directions, K, rows], scales float32 and zero points int8 [directions, rows] or [directions]. */
function addTurned(graph: Graph, name: string, { perChannel, reduceRange }: Options) {
  const tensor = graph.constant(name)!;
  const shape = tensorShape(tensor);
  const [directions, rows, inner] = shape as [number, number, number];
  const layout = rowsOf(shape);
  const values = tensorFloats(tensor);
  const range = weightCodes(reduceRange);
  const magnitudes = channelMagnitudes(values, layout, perChannel);
  const scales = magnitudes.map((each) => weightScale(each, range));
  const codes = quantizeWeights(values, layout, scales, range);
  const turned = codes.map((_, at) => {
    const [row, column] = [at % rows, Math.floor(at / rows) % inner];
    const direction = Math.floor(at / (rows * inner));
    return codes[(direction * rows + row) * inner + column]!;
  });
  const add = (part: string): string => graph.uniqueName(`${name}_${part}`);
  const codeShape = [directions, inner, rows];
  const scaleShape = perChannel ? [directions, rows] : [directions];
  const written = perChannel ? scales : new Float32Array(directions).fill(scales[0]!);
  const int8 = { type: "int8", data: turned } as const;
  const zeros = { type: "int8", data: new Int8Array(written.length) } as const;
  return {
    codes: graph.setInitializer(makeTensor({ name: add("q"), shape: codeShape, ...int8 })),
    scales: graph.setInitializer(floatTensor(add("s"), scaleShape, written)),
    zeroPoints: graph.setInitializer(makeTensor({ name: add("z"), shape: scaleShape, ...zeros })),
  };
}
