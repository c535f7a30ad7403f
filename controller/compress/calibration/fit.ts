/** Whether a sample is what a model takes, asked before the runtime is, which answers in its own terms. */
import { FleetError } from "../../../shared/errors.ts";
import type { DataType } from "../../onnx/data-type.ts";
import type { Dim, Graph } from "../../onnx/graph.ts";
import type { Feeds, TensorValue } from "../execute.ts";

interface InputFact {
  readonly name: string;
  readonly type: DataType | undefined;
  readonly shape: readonly Dim[] | undefined;
}

/**
 * A check of samples against the inputs of a graph. It throws `calibration-failed` for an input that is
 * missing or unknown, for another element type or shape, and for values that are not finite.
 */
export function sampleCheck(graph: Graph): (feeds: Feeds, sample: number) => void {
  const inputs: InputFact[] = graph.inputNames
    .filter((name) => !graph.initializers.has(name))
    .map((name) => ({
      name,
      type: graph.declaredType(name),
      shape: graph.declaredShape(name),
    }));
  const names = new Set(graph.inputNames);
  return (feeds, sample) => {
    const fault =
      [...feeds.keys()].filter((name) => !names.has(name)).map(unknownInput(inputs))[0] ??
      inputs.map((input) => inputFault(input, feeds.get(input.name))).find(Boolean);
    if (fault === undefined) return;
    throw new FleetError(
      "calibration-failed",
      `calibration sample ${sample} does not fit the model: ${fault}`,
      { details: { sample } },
    );
  };
}

function unknownInput(inputs: readonly InputFact[]): (name: string) => string {
  const known = inputs.map(({ name }) => name).join(", ");
  return (name) => `it names ${name}, the model's inputs are ${known}: rename it`;
}

function inputFault(input: InputFact, value: TensorValue | undefined): string | undefined {
  const { name, type, shape } = input;
  if (value === undefined) return `it has nothing for input ${name}: add it`;
  if (type !== undefined && value.type !== type) {
    return `input ${name} takes ${type}, the sample is ${value.type}: convert it`;
  }
  if (shape !== undefined && !fits(shape, value.shape)) {
    return `input ${name} takes ${words(shape)}, the sample is ${words(value.shape)}: reshape it`;
  }
  const at = notFinite(value);
  return at < 0 ? undefined : `input ${name} holds ${value.data[at]} at ${at}: correct or drop it`;
}

/** A sample's shape carries a batch axis of 1, which models of one sample have not. */
export function fitted(shape: readonly number[], rank: number | undefined): readonly number[] {
  return rank === shape.length - 1 && shape[0] === 1 ? shape.slice(1) : shape;
}

/** Equal lengths where the model fixes one. */
function fits(wanted: readonly Dim[], actual: readonly number[]): boolean {
  const shape = fitted(actual, wanted.length);
  if (shape.length !== wanted.length) return false;
  return wanted.every((dim, axis) => typeof dim !== "number" || dim <= 0 || dim === shape[axis]);
}

function words(shape: readonly Dim[]): string {
  return `[${shape.map((dim) => dim ?? "?").join(", ")}]`;
}

/** The place of the first value that is no finite number; −1 when there is none. */
function notFinite({ data }: TensorValue): number {
  if (!(data instanceof Float32Array || data instanceof Float64Array)) return -1;
  // 0 times a finite number is 0, and NaN otherwise: a tenth of the time of asking each one.
  let sum = 0;
  for (let index = 0; index < data.length; index++) sum += data[index]! * 0;
  return sum === 0 ? -1 : data.findIndex((value) => !Number.isFinite(value));
}
