/**
 * Runs candidates on held-out samples, as a device would, and the float model beside them. Without
 * held-out samples the calibration samples stand in, which is told.
 *
 * Invariants: of the samples one is held at a time; of the outputs those of the float model and of one
 * candidate.
 */
import type { Model } from "../../onnx/model.ts";
import type { Outputs, TensorValue, Workbench } from "../execute.ts";
import type { CandidateScore } from "./choose.ts";

export interface Candidate {
  readonly label: string;
  readonly model: Model;
}

/** Ratio that stands for equal outputs, about what float32 resolves; its negative for no numbers. */
const decibelMax = 140;

/** One score per candidate, in their order. */
export async function scoreCandidates(
  workbench: Workbench,
  float: Model,
  candidates: readonly Candidate[],
  signal?: AbortSignal,
): Promise<CandidateScore[]> {
  const answer = (model: Model) => answersOf(workbench, model, { signal });
  const expected = await answer(float);
  const judge = workbench.heldOut === undefined ? undefined : workbench.judge;
  const scores: CandidateScore[] = [];
  for (const { label, model } of candidates) {
    const actual = await answer(model);
    const decibels = Float64Array.from(expected, (outputs, at) =>
      signalToNoise(outputs, actual[at]!),
    );
    const losses = judge?.losses(actual);
    scores.push({ label, decibels, ...(losses === undefined ? {} : { losses }) });
  }
  return scores;
}

/** Outputs for each held-out sample, of the first `samplesMax`; for calibration samples where there are none. */
export async function answersOf(
  workbench: Workbench,
  model: Model,
  {
    signal,
    samplesMax = Number.POSITIVE_INFINITY,
  }: {
    readonly signal?: AbortSignal | undefined;
    readonly samplesMax?: number | undefined;
  },
): Promise<Outputs[]> {
  const loaded = await workbench.load(model.encode(), "all");
  const answers: Outputs[] = [];
  try {
    for await (const feeds of (workbench.heldOut ?? workbench.calibration)()) {
      signal?.throwIfAborted();
      if (answers.length >= samplesMax) break;
      answers.push(await loaded.run(feeds));
    }
  } finally {
    await loaded.close();
  }
  return answers;
}

/** Over all outputs of one sample together, in decibels. */
export function signalToNoise(expected: Outputs, actual: Outputs): number {
  let energy = 0;
  let noise = 0;
  for (const [name, { data }] of expected) {
    const other: TensorValue["data"] = actual.get(name)?.data ?? new Float32Array();
    for (let index = 0; index < data.length; index++) {
      const value = Number(data[index]);
      energy += value ** 2;
      noise += (value - Number(other[index])) ** 2;
    }
  }
  if (noise === 0) return decibelMax;
  const ratio = 10 * Math.log10(energy / noise);
  return Number.isNaN(ratio) ? -decibelMax : Math.min(decibelMax, Math.max(-decibelMax, ratio));
}
