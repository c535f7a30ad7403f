/**
 * Runs a quantized model as onnxruntime runs it on a processor that need not be there: integer products
 * are emulated, everything else is left to the runtime. The result is a loaded model like any other, so
 * whatever judges a model can judge it on a processor that nobody here owns.
 *
 * Steps, once per model:
 * 1. Nodes on codes, or between DequantizeLinear and QuantizeLinear, are read into units.
 * 2. Each unit and each node left becomes a step. Nodes that move values run on floats here though the
 *    runtime moves codes: quantizing what was dequantized gives the code again, so the result is the same.
 * 3. Steps whose values nobody reads are dropped.
 *
 * Invariants: codes are those of onnxruntime 1.30 to the bit; floats that the runtime makes are this
 * machine's, whose last bit may differ from another's.
 */
import { assert } from "../../../shared/assert.ts";
import type { Processor } from "../../../shared/devices/processor.ts";
import type { DataType } from "../../onnx/data-type.ts";
import { elementTypes } from "../../onnx/element-types.ts";
import type { Model } from "../../onnx/model.ts";
import type { Node } from "../../onnx/node.ts";
import { tensorData, tensorShape, tensorType } from "../../onnx/tensor.ts";
import type { Batches, LoadedModel, Outputs, TensorValue, Workbench } from "../execute.ts";
import { integerKernels } from "../fusion-audit.ts";
import { nodeLabel } from "../quantize/selection.ts";
import type { Step, StepContext, StepMaker } from "./step.ts";
import { convStep } from "./steps/conv.ts";
import { conversionStep } from "./steps/conversions.ts";
import { addStep, mulStep } from "./steps/elementwise.ts";
import { matMulIntegerStep, matrixStep } from "./steps/matrix.ts";
import { moveStep } from "./steps/moves.ts";
import { averageStep, globalAverageStep } from "./steps/pooling.ts";
import { type RuntimeStep, runtimeStep } from "./steps/runtime.ts";
import { softmaxStep } from "./steps/softmax.ts";
import type { Unit } from "./unit.ts";
import { unitOf } from "./units.ts";

const makers: Readonly<Record<string, StepMaker>> = {
  Conv: convStep,
  Gemm: matrixStep,
  MatMul: matrixStep,
  Add: addStep,
  Mul: mulStep,
  GlobalAveragePool: globalAverageStep,
  AveragePool: averageStep,
  Softmax: softmaxStep,
};

/** Units that add up products. */
const products: ReadonlySet<string> = new Set(["Conv", "Gemm", "MatMul"]);

/** A model whose integer arithmetic is another processor's. */
export interface Emulation extends LoadedModel {
  /** Names of nodes whose products of bytes are emulated. */
  readonly emulated: readonly string[];
  /** Names of nodes whose codes are this machine's, for want of an emulation, and may be others there. */
  readonly notEmulated: readonly string[];
}

export interface EmulationOptions {
  readonly processor: Processor;
  /** Loads what is not emulated; without it a model that needs it throws `onnx-unsupported`. */
  readonly load?: Workbench["load"];
}

/** Prepares a quantized model, in QDQ or QOperator form, to be run as on a processor. */
export function emulate(model: Model, { processor, load }: EmulationOptions): Emulation {
  const { graph } = model;
  const context = { graph, processor };
  const plan = planOf(model, context, load);
  const constants = new Map<string, TensorValue>();
  for (const name of plan.steps.flatMap(({ inputs }) => inputs)) {
    const tensor = graph.constant(name);
    if (tensor === undefined) continue;
    const data = tensorData(tensor);
    constants.set(name, { type: tensorType(tensor), shape: tensorShape(tensor), data });
  }
  return {
    emulated: plan.emulated,
    notEmulated: plan.notEmulated,
    async run(feeds) {
      const values = new Map([...constants, ...feeds]);
      for (const { inputs, outputs, run } of plan.steps) {
        const read = inputs.map((name) => values.get(name)!);
        const results = await run(read);
        outputs.forEach((name, at) => {
          values.set(name, results[at]!);
        });
      }
      return new Map(graph.outputNames.map((name) => [name, values.get(name)!]));
    },
    async close() {
      for (const step of plan.sessions) await step.close();
    },
  };
}

/** Outputs of a quantized model for each sample, as a processor would give them. */
export async function foretell(
  model: Model,
  samples: Batches,
  options: EmulationOptions,
): Promise<Outputs[]> {
  const emulation = emulate(model, options);
  const outputs: Outputs[] = [];
  try {
    for await (const feeds of samples) outputs.push(await emulation.run(feeds));
  } finally {
    await emulation.close();
  }
  return outputs;
}

interface Plan {
  readonly steps: readonly Step[];
  readonly sessions: readonly RuntimeStep[];
  readonly emulated: readonly string[];
  readonly notEmulated: readonly string[];
}

function planOf(model: Model, context: StepContext, load: Workbench["load"] | undefined): Plan {
  const { graph } = model;
  const types = elementTypes(graph);
  const sessions: RuntimeStep[] = [];
  const emulated: string[] = [];
  const notEmulated: string[] = [];
  const inRuntime = (nodes: readonly Node[]): Step => {
    const step = runtimeStep(model, nodes, load);
    sessions.push(step);
    return step;
  };
  const done = new Set<Node>();
  const steps: Step[] = [];
  for (const node of graph.sortedNodes()) {
    const unit = unitOf(graph, types, node, context.processor);
    if (unit !== undefined) {
      const step = makers[unit.operator]?.(context, unit);
      if (step !== undefined && products.has(unit.operator)) emulated.push(nodeLabel(node));
      if (step === undefined && mayDiffer(unit)) notEmulated.push(nodeLabel(node));
      steps.push(step ?? inRuntime(unit.nodes));
      for (const covered of unit.nodes)
        if (covered.opType !== "DequantizeLinear") done.add(covered);
      continue;
    }
    if (done.has(node)) continue;
    const step =
      conversionStep(context, types, node) ??
      moveStep(context, node) ??
      matMulIntegerStep(context, node);
    if (step !== undefined && node.is("MatMulInteger")) emulated.push(nodeLabel(node));
    if (step === undefined && dependsOnKernel(node, types)) notEmulated.push(nodeLabel(node));
    steps.push(step ?? inRuntime([node]));
  }
  return { steps: needed(graph.outputNames, steps), sessions, emulated, notEmulated };
}

/**
 * True for nodes whose codes depend on which kernel the whole model gets: products of bytes, and averages of
 * codes by Resize, for which the layout of the image decides.
 */
function dependsOnKernel(node: Node, types: ReadonlyMap<string, DataType>): boolean {
  if (integerKernels.has(node.opType)) return true;
  const type = types.get(node.input(0));
  const isOnCodes = type === "uint8" || type === "int8";
  return isOnCodes && node.is("Resize") && node.string("mode", "nearest") !== "nearest";
}

/** True for products with int8 weights: others are as exact on every processor. */
function mayDiffer({ operands }: Unit): boolean {
  return operands[1]?.type === "int8";
}

/** Without the steps that nothing needed reads, last to first. */
function needed(outputs: readonly string[], steps: readonly Step[]): Step[] {
  const wanted = new Set(outputs);
  const kept = steps.toReversed().filter((step) => {
    if (!step.outputs.some((name) => wanted.has(name))) return false;
    for (const name of step.inputs) wanted.add(name);
    return true;
  });
  assert(kept.length > 0 || outputs.length === 0, "no step makes an output");
  return kept.reverse();
}
