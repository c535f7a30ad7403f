/** Post-processing: what the model put out to what a client gets. */
import type { OutputSpec } from "../../artifact/bundle.ts";
import { FleetError } from "../../errors.ts";
import type { TypedData } from "./typed-data.ts";

export interface OutputTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: TypedData;
}

export type Answer =
  | {
      readonly kind: "classification";
      readonly index: number;
      readonly label: string;
      readonly score: number;
      readonly scores: Float32Array;
    }
  | { readonly kind: "tensors"; readonly tensors: Readonly<Record<string, OutputTensor>> };

/**
 * A classification's index is −1 when no score is a number.
 * Errors: `golden-mismatch` when the model's output does not have what the specification names.
 */
export function answerOf(
  spec: OutputSpec,
  outputs: Readonly<Record<string, OutputTensor>>,
): Answer {
  if (spec.kind === "tensors") {
    return {
      kind: "tensors",
      tensors: Object.fromEntries(spec.tensors.map((name) => [name, outputOf(outputs, name)])),
    };
  }
  const { data } = outputOf(outputs, spec.tensor);
  if (data.length !== spec.labels.length) {
    throw new FleetError(
      "golden-mismatch",
      `output ${spec.tensor} has ${data.length} scores for ${spec.labels.length} labels`,
    );
  }
  const raw = Float32Array.from(data as ArrayLike<number>, Number);
  const index = argMax(raw);
  const scores = spec.scores === "softmax" ? softmax(raw) : raw;
  return {
    kind: "classification",
    index,
    label: spec.labels[index] ?? "",
    score: scores[index] ?? Number.NaN,
    scores,
  };
}

function outputOf(outputs: Readonly<Record<string, OutputTensor>>, name: string): OutputTensor {
  const tensor = outputs[name];
  if (tensor === undefined) {
    throw new FleetError("golden-mismatch", `the model has no output named ${name}`);
  }
  return tensor;
}

/** All values of all tensors, one after the other, as float32. */
export function flattenTensors(tensors: Readonly<Record<string, OutputTensor>>): Float32Array {
  const parts = Object.values(tensors).map(({ data }) =>
    Float32Array.from(data as ArrayLike<number>, Number),
  );
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** First index of the largest value; −1 when no value is a number. */
export function argMax(values: ArrayLike<number>): number {
  let best = -1;
  for (let at = 0; at < values.length; at++) {
    if (values[at]! > (best < 0 ? Number.NEGATIVE_INFINITY : values[best]!)) best = at;
  }
  return best;
}

function softmax(values: Float32Array): Float32Array {
  const top = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const powers = values.map((value) => Math.exp(value - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}
