/**
 * What the benchmark compresses: a float32 model with labelled samples. Every sample is answered rightly
 * or wrongly, so that two files are compared sample by sample whatever the model does.
 *
 * Invariants: samples are in the model's own input form; half `pick` chooses recipes, half `compare`
 * compares the chosen ones; calibration samples are never in `compare`.
 */
import { permutation, seededRandom } from "../../../shared/prng.ts";

export type SampleData = Float32Array<ArrayBuffer> | BigInt64Array<ArrayBuffer>;

/** Samples one after the other. */
export interface Samples {
  readonly data: SampleData;
  readonly count: number;
}

export interface LabelledSamples extends Samples {
  /** The class of each sample, or whatever the subject's `isRight` takes for the truth. */
  readonly labels: ArrayLike<number>;
}

/** The first output of one sample. */
export type Answer = Float32Array;

export interface Subject {
  readonly name: string;
  readonly modelBytes: Uint8Array;
  readonly input: {
    readonly name: string;
    readonly dtype: "float32" | "int64";
    /** Of one sample, without the batch axis. */
    readonly shape: readonly number[];
    /** False for an input without a batch axis. */
    readonly isBatched: boolean;
  };
  readonly labelled: LabelledSamples;
  /** Unlabelled samples of another part of the data; those of `pick` are used when absent. */
  readonly calibration?: Samples;
  /** True when the answer to the labelled sample at `index` is right. */
  readonly isRight: (answer: Answer, index: number) => boolean;
  /** The slice of each labelled sample, by its place in `names`. */
  readonly slices?: { readonly names: readonly string[]; readonly of: readonly number[] };
  /** What was published of the source: percent of right answers, one decimal, over the given samples. */
  readonly published?: { readonly percent: number; readonly samples: LabelledSamples };
  /** How many recipes of both sides are tried: fewer of models that take long. */
  readonly grid: "full" | "core" | "few";
}

export interface Halves {
  readonly pick: Uint32Array;
  readonly compare: Uint32Array;
}

const splitSeed = 20_260_501;
/** More samples to pick on make no other choice and take long. */
const pickCountMax = 2_000;
const calibrationCount = 200;

/** A seeded split into halves; of the first one no more are used than a choice needs. */
export function halvesOf(count: number): Halves {
  const order = permutation(seededRandom(splitSeed), count);
  const middle = Math.floor(count / 2);
  return {
    pick: order.slice(0, Math.min(middle, pickCountMax)),
    compare: order.slice(middle),
  };
}

/** The samples that both sides calibrate on, the same ones in the same order. */
export function calibrationOf(subject: Subject, count = calibrationCount): Samples {
  const { calibration, labelled } = subject;
  if (calibration !== undefined) {
    const order = permutation(seededRandom(splitSeed), calibration.count);
    return takeSamples(subject, calibration, order.slice(0, count));
  }
  return takeSamples(subject, labelled, halvesOf(labelled.count).pick.slice(0, count));
}

/** Numbers of one sample. */
export function sampleLength({ input }: Pick<Subject, "input">): number {
  return input.shape.reduce((product, size) => product * size, 1);
}

export function takeSamples(subject: Subject, from: Samples, indices: Uint32Array): Samples {
  const length = sampleLength(subject);
  const data =
    from.data instanceof Float32Array
      ? new Float32Array(indices.length * length)
      : new BigInt64Array(indices.length * length);
  indices.forEach((source, target) => {
    const sample = from.data.subarray(source * length, (source + 1) * length);
    (data as Float32Array).set(sample as Float32Array, target * length);
  });
  return { data, count: indices.length };
}

/** The place of the largest number; ties go to the first. */
export function argMax(answer: Answer): number {
  let best = 0;
  for (let at = 1; at < answer.length; at++) if (answer[at]! > answer[best]!) best = at;
  return best;
}

/** Right when the highest score is the label's. */
export function topOne(labels: ArrayLike<number>): Subject["isRight"] {
  return (answer, index) => argMax(answer) === labels[index];
}
