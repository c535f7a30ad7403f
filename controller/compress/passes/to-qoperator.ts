/**
 * Turns QDQ form into QOperator form: operators between DequantizeLinear and QuantizeLinear become ones
 * that work on codes, as onnxruntime makes them when it loads the model. The file is smaller, since it
 * names each value once instead of three times; the numbers are the same, bit for bit.
 *
 * 1. An operator whose data inputs all come from DequantizeLinear and whose one output goes to one
 *    QuantizeLinear becomes its form on codes (`qoperator-forms.ts`): Conv float32 weight [M, C / g, k…]
 *    int8 with scale [M] becomes QLinearConv, and so on. A bias must be int32 codes.
 * 2. A Relu or Clip between them goes when no code lies beyond its bounds.
 * 3. Gemm and MatMul that nothing quantizes yield float32: QGemm, MatMulIntegerToFloat.
 * 4. An operator that only moves values works on codes when scale and zero point stay.
 * 5. What fits none of these stays as it is, and so do int8 activations unless `int8Activations` is set:
 *    x86 runs them fast in QDQ form alone, where the runtime may shift them to uint8.
 *
 * With `when: smaller` the form is kept only if it makes the compact file smaller and, where there are
 * samples to run, the outputs on the first of them are the same.
 * Source: onnxruntime 1.30, qdq_selectors.cc, qdq_actions.cc, relu_quantizelinear.cc.
 */
import { z } from "zod";
import { type DataType, dataTypeOfCode, dataTypes } from "../../onnx/data-type.ts";
import { elementTypes } from "../../onnx/element-types.ts";
import type { Graph } from "../../onnx/graph.ts";
import type { Model } from "../../onnx/model.ts";
import type { Node } from "../../onnx/node.ts";
import { factOf } from "../../onnx/ops/registry.ts";
import type { TensorProto } from "../../onnx/schema.ts";
import {
  makeTensor,
  tensorData,
  tensorElements,
  tensorFloats,
  tensorShape,
} from "../../onnx/tensor.ts";
import type { Outputs, Workbench } from "../execute.ts";
import { definePass, exactTolerance, type PassContext, type PassResult } from "../pass.ts";
import {
  type CodedOperand,
  type CodeNames,
  type QOperatorForm,
  qOperatorForms,
} from "../quantize/qoperator-forms.ts";
import { nodeLabel } from "../quantize/selection.ts";
import { compactModel } from "./compact.ts";

/** DequantizeLinear per channel, Softmax along one axis, and 8-bit MaxPool exist by then. */
const opsetMin = 13;

/** Samples on which both forms must agree; a difference in form shows on the first already. */
const comparedSamplesMax = 4;

const options = z.strictObject({
  when: z.enum(["smaller", "always"]).default("smaller"),
  int8Activations: z.boolean().default(false),
});

type Options = z.output<typeof options>;

export const toQOperator = definePass({
  name: "to-qoperator",
  summary: "QDQ form to QOperator form: the same numbers from a smaller file.",
  options,
  tolerance: exactTolerance,
  notApplicable(model) {
    const hasPairs = model.graph.nodes.some((node) => node.is("DequantizeLinear"));
    return hasPairs ? undefined : "the model has no DequantizeLinear: quantize it before";
  },
  requires(model) {
    if (model.opset >= opsetMin) return undefined;
    return `operator set ${opsetMin} is needed, the model has ${model.opset}: run convert-opset before`;
  },
  run: convert,
});

async function convert(
  { workbench }: PassContext,
  model: Model,
  pass: Options,
): Promise<PassResult> {
  const edited = model.clone();
  const conversion = new Conversion(edited, pass);
  conversion.run();
  const report = conversion.report();
  if (report.converted + report.moved === 0) return { modified: false, report };
  if (pass.when === "smaller") {
    const refusal = await refusalOf(model, edited, workbench);
    if (refusal !== undefined) {
      return { modified: false, report: { ...report, converted: 0, moved: 0, refusal } };
    }
  }
  model.replaceWith(edited);
  return { modified: true, report };
}

/** Why the model had better stay in QDQ form. */
async function refusalOf(
  before: Model,
  after: Model,
  workbench: Workbench | undefined,
): Promise<string | undefined> {
  const [old, now] = [before, after].map((model) => compactModel(model).bytes.length);
  if (now! >= old!) return `the file would have ${now} bytes instead of ${old}`;
  const isSame = workbench === undefined || (await haveSameOutputs(before, after, workbench));
  return isSame ? undefined : "the outputs on the first samples differ";
}

async function haveSameOutputs(
  before: Model,
  after: Model,
  workbench: Workbench,
): Promise<boolean> {
  const old = await workbench.load(before.encode(), "all");
  try {
    const now = await workbench.load(after.encode(), "all");
    try {
      let compared = 0;
      for await (const feeds of workbench.calibration()) {
        if (!areSame(await old.run(feeds), await now.run(feeds))) return false;
        compared++;
        if (compared === comparedSamplesMax) break;
      }
      return true;
    } finally {
      await now.close();
    }
  } finally {
    await old.close();
  }
}

function areSame(left: Outputs, right: Outputs): boolean {
  const bytes = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array =>
    new Uint8Array(buffer, byteOffset, byteLength);
  return [...left].every(([name, { data }]) => {
    const other = right.get(name);
    return other !== undefined && Buffer.compare(bytes(data), bytes(other.data)) === 0;
  });
}

/** Where the codes of a node's output go. */
interface Sink extends CodeNames {
  readonly codes: string;
  /** Relu or Clip, and QuantizeLinear, which go. */
  readonly nodes: readonly Node[];
}

/** One model on its way. */
class Conversion {
  readonly #model: Model;
  readonly #graph: Graph;
  readonly #types: ReadonlyMap<string, DataType>;
  readonly #allowsInt8: boolean;
  readonly #zeroNames = new Map<string, string>();
  readonly #kept: string[] = [];
  #converted = 0;
  #moved = 0;

  constructor(model: Model, { int8Activations }: Options) {
    this.#model = model;
    this.#graph = model.graph;
    this.#types = elementTypes(model.graph);
    this.#allowsInt8 = int8Activations;
  }

  run(): void {
    for (const node of this.#graph.sortedNodes()) {
      if (node.domain !== "" || !this.#readsCodes(node)) continue;
      const form = qOperatorForms[node.opType];
      if (form !== undefined) this.#convert(node, form);
      else if (factOf(node)?.quantization?.kind === "moved") this.#move(node);
    }
    this.#dropUnread();
    const isContrib = this.#graph.nodes.some(({ domain }) => domain === "com.microsoft");
    if (isContrib && this.#model.opsetOf("com.microsoft") === undefined) {
      this.#model.setOpset("com.microsoft", 1);
    }
  }

  report() {
    return { converted: this.#converted, moved: this.#moved, kept: this.#kept };
  }

  #readsCodes(node: Node): boolean {
    return node.inputs.some((name) => this.#dequantizer(name) !== undefined);
  }

  // ── cases 1 to 3 ──────────────────────────────────────────────────────────────────────────────

  #convert(node: Node, form: QOperatorForm): void {
    const refusal = this.#tryConvert(node, form);
    if (refusal === undefined) this.#converted++;
    else this.#kept.push(`${nodeLabel(node)}: ${refusal}`);
  }

  /** Undefined when it is done, or else why not. */
  #tryConvert(node: Node, form: QOperatorForm): string | undefined {
    const refusal = form.refusal?.(node);
    if (refusal !== undefined) return refusal;
    const all = node.inputs.map((_name, index) => index);
    const dataInputs = form.dataInputs ?? all.filter((index) => index !== form.bias);
    const dequantizers = dataInputs.map((index) => this.#dequantizer(node.input(index)));
    if (dequantizers.includes(undefined)) return "not all of its inputs are codes";
    const isCoded = dataInputs.every((index) => this.#hasFittingScales(node, index));
    if (!isCoded) return "its scales do not lie along the axis of output channels";
    if (this.#runsAsFloat(node)) return "it runs as float, since its weight names no zero point";
    const biasName = form.bias === undefined ? "" : node.input(form.bias);
    const bias = biasName === "" ? "" : this.#biasCodes(biasName);
    if (bias === undefined) return "its bias is not int32 codes";
    const sink = this.#sinkOf(node.output(0));
    if (sink === undefined && form.mayYieldFloats !== true) return "its output is not codes";
    const activations = dequantizers.filter(
      (each) => this.#graph.constant(each!.input(0)) === undefined,
    );
    const codes = [...activations.map((each) => each!.input(0)), ...(sink ? [sink.codes] : [])];
    const isFast = codes.every((name) => this.#types.get(name) === "uint8");
    if (!isFast && !this.#allowsInt8) return "its activations are int8";
    const operands = dequantizers.map((each) =>
      this.#operand(each!, form.mayShareZeroPoint === true),
    );
    const made = form.build({ node, operands, bias, output: sink });
    this.#replace(node, made, sink);
    return undefined;
  }

  #replace(node: Node, made: ReturnType<QOperatorForm["build"]>, sink: Sink | undefined): void {
    const graph = this.#graph;
    for (const gone of [node, ...(sink?.nodes ?? [])]) {
      graph.removeNode(gone);
      if (sink !== undefined) graph.setInfo(gone.output(0), undefined);
    }
    const outputs = [sink?.codes ?? node.output(0)];
    graph.addNode({ ...made, outputs, name: node.name });
  }

  #operand(dequantize: Node, mayShare: boolean): CodedOperand {
    const [codes, scale] = [dequantize.input(0), dequantize.input(1)];
    return { codes, scale, zeroPoint: this.#zeroPoint(dequantize, mayShare) };
  }

  /** The zero point as it is; absent ones, and zeros where that is allowed, become one number. */
  #zeroPoint(dequantize: Node, mayShare: boolean): string {
    const name = dequantize.input(2);
    const given = this.#graph.constant(name);
    const isZero =
      given !== undefined &&
      tensorData(given).every((value: number | bigint) => Number(value) === 0);
    if (name !== "" && !(mayShare && isZero)) return name;
    return this.#zero(this.#types.get(dequantize.input(0)) === "int8" ? "int8" : "uint8");
  }

  #zero(type: "int8" | "uint8"): string {
    const known = this.#zeroNames.get(type);
    if (known !== undefined) return known;
    const name = this.#graph.uniqueName(`zero_${type}`);
    const data = type === "int8" ? new Int8Array(1) : new Uint8Array(1);
    this.#graph.setInitializer(makeTensor({ name, type, shape: [], data: data as never }));
    this.#zeroNames.set(type, name);
    return name;
  }

  #biasCodes(name: string): string | undefined {
    const codes = this.#dequantizer(name)?.input(0);
    return codes !== undefined && this.#types.get(codes) === "int32" ? codes : undefined;
  }

  /** Operators that the runtime leaves float for want of a zero point would give other numbers on codes. */
  #runsAsFloat(node: Node): boolean {
    const fact = factOf(node);
    const role = fact?.quantization;
    if (role?.kind !== "linear" || role.needsWeightZeroPoint !== true) return false;
    return this.#dequantizer(node.input(fact!.weight!.input))?.input(2) === "";
  }

  /** One scale, or for a constant weight one per output channel: kernels on codes know no others. */
  #hasFittingScales(node: Node, index: number): boolean {
    const dequantize = this.#dequantizer(node.input(index))!;
    const scales = this.#graph.constant(dequantize.input(1));
    if (scales === undefined) return false;
    if (tensorElements(scales) === 1) return true;
    const fact = factOf(node)?.weight;
    const codes = this.#graph.constant(dequantize.input(0));
    if (fact?.input !== index || codes === undefined) return false;
    const { length } = codes.dims;
    const axis = dequantize.int("axis", 1);
    return fact.layout(node, tensorShape(codes))?.axis === (axis < 0 ? axis + length : axis);
  }

  /** The DequantizeLinear that makes a value, when its codes have one axis of scales or none. */
  #dequantizer(name: string): Node | undefined {
    const node = this.#graph.producerOf(name);
    return node?.is("DequantizeLinear") && !node.has("block_size") ? node : undefined;
  }

  #sinkOf(output: string): Sink | undefined {
    const graph = this.#graph;
    const next = graph.onlyConsumerOf(output);
    if (next?.is("QuantizeLinear")) return this.#sinkAt(next, []);
    const role = next === undefined ? undefined : factOf(next)?.quantization;
    if (next === undefined || role?.kind !== "absorbed") return undefined;
    const last = graph.onlyConsumerOf(next.output(0));
    if (!last?.is("QuantizeLinear")) return undefined;
    const bounds = role.bounds(next, graph);
    const codes = this.#codedRange(last);
    const isNeedless =
      bounds !== undefined &&
      codes !== undefined &&
      codes.min >= bounds.min &&
      codes.max <= bounds.max;
    return isNeedless ? this.#sinkAt(last, [next]) : undefined;
  }

  /** Undefined for a QuantizeLinear without zero point, or with several scales. */
  #sinkAt(quantize: Node, absorbed: readonly Node[]): Sink | undefined {
    const [, scale = "", zeroPoint = ""] = quantize.inputs;
    if (zeroPoint === "" || scalarOf(this.#graph.constant(scale)) === undefined) return undefined;
    return { codes: quantize.output(0), scale, zeroPoint, nodes: [...absorbed, quantize] };
  }

  /** What the first and the last code of a QuantizeLinear stand for. */
  #codedRange(quantize: Node) {
    const type = this.#types.get(quantize.output(0));
    const scale = scalarOf(this.#graph.constant(quantize.input(1)));
    const zero = quantize.input(2) === "" ? 0 : scalarOf(this.#graph.constant(quantize.input(2)));
    if (scale === undefined || zero === undefined) return undefined;
    const [first, last] = type === "int8" ? [-128, 127] : [0, 255];
    return { min: Math.fround(scale * (first - zero)), max: Math.fround(scale * (last - zero)) };
  }

  // ── case 4 ────────────────────────────────────────────────────────────────────────────────────

  #move(node: Node): void {
    const dequantize = this.#dequantizer(node.input(0));
    const sinks = node.outputs.map((name) => this.#sinkOf(name));
    const isSame =
      dequantize !== undefined &&
      sinks.every((sink) => sink?.nodes.length === 1 && this.#means(sink.nodes[0]!, dequantize));
    if (!isSame) {
      this.#kept.push(`${nodeLabel(node)}: its codes would not mean the same behind it`);
      return;
    }
    const graph = this.#graph;
    const quantizers = sinks.map((sink) => sink!.nodes[0]!);
    graph.removeNode(node);
    for (const quantize of quantizers) graph.removeNode(quantize);
    for (const name of node.outputs) graph.setInfo(name, undefined);
    graph.addNode({
      opType: node.opType,
      inputs: [dequantize.input(0), ...node.inputs.slice(1)],
      outputs: quantizers.map((quantize) => quantize.output(0)),
      copiedAttributes: node.proto.attribute,
      name: node.name,
    });
    this.#moved++;
  }

  /** True when both have the same scale and zero point. */
  #means(quantize: Node, dequantize: Node): boolean {
    return [1, 2].every((index) => {
      const [left, right] = [quantize.input(index), dequantize.input(index)];
      if (left === right) return true;
      const values = [left, right].map((name) => scalarOf(this.#graph.constant(name)));
      return values[0] !== undefined && values[0] === values[1];
    });
  }

  // ── afterwards ────────────────────────────────────────────────────────────────────────────────

  #dropUnread(): void {
    const graph = this.#graph;
    const isRead = (name: string): boolean =>
      graph.consumersOf(name).length > 0 || graph.isOutput(name) || graph.isInput(name);
    for (const node of graph.nodes) {
      if (!node.is("DequantizeLinear") || isRead(node.output(0))) continue;
      graph.removeNode(node);
      graph.setInfo(node.output(0), undefined);
    }
    for (const name of [...graph.initializers.keys()]) {
      if (!isRead(name)) graph.removeInitializer(name);
    }
  }
}

function scalarOf(tensor: TensorProto | undefined): number | undefined {
  const type = dataTypeOfCode(tensor?.dataType ?? 0);
  if (tensor === undefined || type === undefined || tensorElements(tensor) !== 1) return undefined;
  const data = dataTypes[type].isFloat ? tensorFloats(tensor) : tensorData(tensor);
  return Number(data[0]);
}
