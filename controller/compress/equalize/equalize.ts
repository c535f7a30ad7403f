/**
 * The steps that all equalizing passes share: find where factors may travel, observe the channels there,
 * choose factors part by part, write them.
 */
import { FleetError } from "../../../shared/errors.ts";
import type { Model } from "../../onnx/model.ts";
import type { Workbench } from "../execute.ts";
import type { PassContext, PassResult } from "../pass.ts";
import { selectNodes } from "../quantize/selection.ts";
import { applyFactors, type Factors } from "./apply-factors.ts";
import { observeChannels, withRoom } from "./channel-ranges.ts";
import { type ChoiceOptions, chooseFactors } from "./choose-factors.ts";
import { type Component, componentsOf } from "./components.ts";
import { gateInputs, usefulMinima } from "./gate-range.ts";
import { weighLinears } from "./importance.ts";
import { noiseModel } from "./noise-model.ts";
import { type ScaleFlow, scaleFlow } from "./scale-flow.ts";
import type { ScaledValue } from "./scaled-value.ts";
import { balanceWeights } from "./weight-balance.ts";

/** Factors need the proportions of channels, not their last extremes: more samples change little. */
const samplesMax = 128;

export interface EqualizeOptions extends ChoiceOptions {
  readonly throughGates: boolean;
  /** What factors are chosen by: activations need samples, weights do not. */
  readonly ranges: "activations" | "weights";
  /** Which parts the pass is for. */
  readonly accepts: (component: Component) => boolean;
}

/** Edits the model. Throws `pass-failed` without samples, and what `observeChannels` throws. */
export async function equalize(
  context: PassContext,
  model: Model,
  options: EqualizeOptions,
): Promise<PassResult> {
  const { graph } = model;
  const flow = scaleFlow(graph, options);
  const components = componentsOf(graph, flow).filter(options.accepts);
  const factors =
    components.length === 0
      ? new Float64Array(flow.variableCount).fill(1)
      : await factorsFor(context, model, flow, components, options);
  const { scaledNodes, addedNodes } = applyFactors(graph, flow, factors);
  const isScaled = ({ variables }: Component): boolean =>
    variables.some((variable) => factors[variable] !== 1);
  const scaled = components.filter(isScaled).length;
  return {
    modified: scaledNodes > 0,
    report: { parts: components.length, scaledParts: scaled, scaledNodes, addedNodes },
  };
}

async function factorsFor(
  context: PassContext,
  model: Model,
  flow: ScaleFlow,
  components: readonly Component[],
  options: EqualizeOptions,
): Promise<Factors> {
  const { graph } = model;
  if (options.ranges === "weights") return balanceWeights(graph, flow, components);
  const quantized = selectNodes(graph, { exclude: [], symmetricActivations: false }).values;
  const values = observedValues(flow, components, quantized);
  const { signal } = context;
  const workbench = requireWorkbench(context.workbench);
  const observed = await observeChannels({ model, values, workbench, signal, samplesMax });
  const ranges = new Map([...observed].map(([name, each]) => [name, withRoom(each)]));
  for (const input of gateInputs(graph, flow.gates)) {
    const range = ranges.get(input.name);
    if (range === undefined) continue;
    ranges.set(input.name, { ...range, min: usefulMinima(input, range, graph) });
  }
  const weighed = weighLinears(graph, flow);
  const factors = new Float64Array(flow.variableCount).fill(1);
  for (const component of components) {
    signal?.throwIfAborted();
    const noise = noiseModel(flow, component, weighed, ranges, quantized);
    const choice = chooseFactors(component, noise, options);
    choice.factors.forEach((factor, index) => {
      factors[component.variables[index]!] = factor;
    });
  }
  return factors;
}

/** What becomes 8-bit in the parts, and what their weights read. */
function observedValues(
  flow: ScaleFlow,
  components: readonly Component[],
  quantized: ReadonlySet<string>,
): Map<string, ScaledValue> {
  const names = components.flatMap(({ values, readers }) => [
    ...values.filter((name) => quantized.has(name)),
    ...readers.map(({ node }) => node.input(0)),
  ]);
  return new Map(names.map((name): [string, ScaledValue] => [name, flow.values.get(name)!]));
}

function requireWorkbench(workbench: Workbench | undefined): Workbench {
  if (workbench !== undefined) return workbench;
  throw new FleetError("pass-failed", "it needs calibration data and there are none: add samples");
}
