/**
 * Models without a runtime: the bytes of one say how good, how fast and how well-behaved it is. What it
 * answers follows from the sample and the model alone, so a parent, a checker and the controller's
 * reference outputs agree without running anything.
 *
 * Invariant: two models err on the same samples as far as their accuracies allow, as two versions of a
 * real model do; `ownErrors` is the share of samples on which this one errs or succeeds by itself.
 */
import type { ModelInterface } from "../../../shared/artifact/bundle.ts";
import { sha256Hex } from "../../../shared/artifact/hash.ts";
import type { Answer } from "../../../shared/inference/processing/answer.ts";
import { seededRandom } from "../../../shared/prng.ts";

export interface SyntheticModel {
  readonly name: string;
  readonly accuracy: number;
  readonly ownErrors: number;
  /** On this share of the places where devices stand, its accuracy is lower by `weakDrop`. */
  readonly weakShare: number;
  readonly weakDrop: number;
  /** Time of one run, in ms. */
  readonly latencyMs: number;
  readonly ramPeakBytes: number;
  /** The process dies while it loads, or in its first run. */
  readonly crashes: "never" | "loading" | "first-run";
  /** The run, counted from 1, that never ends; 0 for none. */
  readonly hangsAtRun: number;
  /** What a marked input does: no golden shard holds one, so only service shows it. */
  readonly onMark: "answers" | "crashes" | "hangs";
}

export const healthyModel: SyntheticModel = {
  name: "healthy",
  accuracy: 0.95,
  ownErrors: 0.01,
  weakShare: 0,
  weakDrop: 0,
  latencyMs: 2,
  ramPeakBytes: 60_000_000,
  crashes: "never",
  hangsAtRun: 0,
  onMark: "answers",
};

const tensor = "x";
const labels = ["0", "1", "2", "3", "4", "5", "6", "7"];
const sampleBytes = 5;
/** Byte of a sample that says where it was taken. */
const placeByte = 4;
const places = 256;

export const syntheticInterface: ModelInterface = {
  inputs: [{ tensor, sample: { dtype: "uint8", shape: [sampleBytes] }, steps: [] }],
  output: { kind: "classification", tensor: "y", scores: "none", labels },
};

/** The model as a file of `bytes` bytes. */
export function encodeSynthetic(model: SyntheticModel, bytes: number): Uint8Array {
  const head = new TextEncoder().encode(`${JSON.stringify(model)}\n`);
  const file = new Uint8Array(Math.max(bytes, head.byteLength));
  const random = seededRandom(numberOf(model.name));
  for (let at = head.byteLength; at < file.byteLength; at++) file[at] = random.nextUint32();
  file.set(head);
  return file;
}

/** Undefined for bytes that are no synthetic model. */
export function decodeSynthetic(file: Uint8Array): SyntheticModel | undefined {
  try {
    const text = new TextDecoder().decode(file.subarray(0, file.indexOf(10)));
    return JSON.parse(text) as SyntheticModel;
  } catch {
    return undefined;
  }
}

/** Samples of one place with their labels, as a golden shard or a client has them. */
export function sampleSet(seed: number, count: number): { data: Uint8Array; labels: number[] } {
  const random = seededRandom(seed);
  const place = random.nextUint32();
  const data = Uint8Array.from({ length: count * sampleBytes }, (_, at) =>
    at % sampleBytes === placeByte ? place : random.nextUint32(),
  );
  return { data, labels: Array.from({ length: count }, (_, at) => labelOf(sampleAt(data, at))) };
}

export const samplesOf = (set: { data: Uint8Array; labels: readonly number[] }) => ({
  [tensor]: {
    dtype: "uint8" as const,
    shape: [sampleBytes],
    data: set.data,
    count: set.labels.length,
  },
});

export const sampleAt = (data: Uint8Array, index: number) =>
  data.subarray(index * sampleBytes, (index + 1) * sampleBytes);

export const sampleCount = (data: Uint8Array) => data.byteLength / sampleBytes;

export const inputOf = (sample: Uint8Array) => ({ [tensor]: sample });

/** A sample as the world has it now and then and no golden shard does. */
export const markedSample = (): Uint8Array => new Uint8Array(sampleBytes).fill(255);

export const isMarked = (sample: Uint8Array): boolean => sample.every((byte) => byte === 255);

/** The raw sample that a request carries. */
export const sampleIn = (inputs: Readonly<Record<string, Uint8Array>>) =>
  inputs[tensor] ?? new Uint8Array(sampleBytes);

const labelOf = (sample: Uint8Array) => (sample[0] ?? 0) % labels.length;

/** Class index that the model answers. */
export function classOf(model: SyntheticModel, sample: Uint8Array): number {
  const own = fraction(sample, numberOf(model.name));
  const difficulty = own < model.ownErrors ? own / model.ownErrors : fraction(sample, 1);
  const isWeak = (sample[placeByte] ?? 0) < model.weakShare * places;
  const right = difficulty < model.accuracy - (isWeak ? model.weakDrop : 0);
  return right ? labelOf(sample) : (labelOf(sample) + 1) % labels.length;
}

/** Its scores name the model, so that a client can tell which one answered. */
export function answerOf(model: SyntheticModel, sample: Uint8Array): Answer {
  const index = classOf(model, sample);
  const scores = new Float32Array(labels.length);
  scores[index] = 0.5 + (numberOf(model.name) % 10_000) / 20_000;
  return {
    kind: "classification",
    index,
    label: labels[index] ?? "",
    score: scores[index] ?? 0,
    scores,
  };
}

function numberOf(name: string): number {
  return Number.parseInt(sha256Hex(new TextEncoder().encode(name)).slice(0, 8), 16);
}

/** Uniform in [0, 1) by sample and salt: FNV-1a, mixed. */
function fraction(sample: Uint8Array, salt: number): number {
  let hash = 0x811c9dc5 ^ salt;
  for (const byte of sample) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x21f0aaad);
  hash = Math.imul(hash ^ (hash >>> 15), 0x735a2d97);
  return ((hash ^ (hash >>> 15)) >>> 0) / 2 ** 32;
}
