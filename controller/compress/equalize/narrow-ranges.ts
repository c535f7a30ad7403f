/**
 * Takes from calibrated ranges what gates do not let through (`gate-range.ts`), for a quantizer.
 */
import type { Model } from "../../onnx/model.ts";
import type { PassContext } from "../pass.ts";
import type { Range } from "../quantize/scale.ts";
import { observeChannels } from "./channel-ranges.ts";
import { gateInputs, usefulMinima } from "./gate-range.ts";
import { scaleFlow } from "./scale-flow.ts";

/**
 * The same ranges, narrower at the inputs of gates. Runs the model on the calibration samples when it has
 * any. Throws what `observeChannels` throws.
 */
export async function narrowRanges(
  { workbench, signal }: PassContext,
  model: Model,
  ranges: ReadonlyMap<string, Range>,
): Promise<ReadonlyMap<string, Range>> {
  const { graph } = model;
  const flow = scaleFlow(graph, { throughGates: true });
  const inputs = gateInputs(graph, flow.gates).filter(({ name }) => ranges.has(name));
  if (inputs.length === 0 || workbench === undefined) return ranges;
  const values = new Map(inputs.map(({ name, gate }) => [name, gate.value]));
  const observed = await observeChannels({ model, values, workbench, signal });
  const narrowed = new Map(ranges);
  for (const input of inputs) {
    const least = usefulMinima(input, observed.get(input.name)!, graph);
    narrowed.set(input.name, narrower(ranges.get(input.name)!, least));
  }
  return narrowed;
}

function narrower({ min, max }: Range, minima: Float64Array): Range {
  const least = minima.reduce((one, other) => Math.min(one, other), 0);
  return { min: Math.max(min, least), max };
}
