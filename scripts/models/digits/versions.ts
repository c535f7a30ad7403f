/**
 * The three versions of the demo model and how each one is made. Version 2 really is better than
 * version 1 and version 3 really is worse; nothing marks them as such, so whatever tells them apart
 * has measured it.
 */
import { permutation, type Random } from "../../../shared/prng.ts";
import type { DigitSet } from "../../data/mnist.ts";

/** Labels as a labelling tool with a swapped key would write them. */
export interface LabelFault {
  readonly trueLabel: number;
  readonly writtenLabel: number;
  /** Share of the true label's images that carry the written one. */
  readonly fraction: number;
}

export interface DigitVersion {
  readonly version: number;
  /** The version whose weights the training starts from; 0 starts from random weights. */
  readonly startsFrom: number;
  readonly seed: number;
  readonly epochs: number;
  /** Highest learning rate; it rises over the first steps and then falls to 0 in a line. */
  readonly learningRate: number;
  readonly shiftPixels: number;
  readonly labelFault: LabelFault | null;
  readonly summary: string;
}

export const digitVersions: readonly DigitVersion[] = [
  {
    version: 1,
    startsFrom: 0,
    seed: 1,
    epochs: 6,
    learningRate: 4e-3,
    shiftPixels: 0,
    labelFault: null,
    summary: "first training",
  },
  {
    version: 2,
    startsFrom: 1,
    seed: 2,
    epochs: 8,
    learningRate: 2e-3,
    shiftPixels: 2,
    labelFault: null,
    summary: "trained on, with shifted images",
  },
  {
    version: 3,
    startsFrom: 2,
    seed: 3,
    epochs: 3,
    learningRate: 2e-3,
    shiftPixels: 2,
    labelFault: { trueLabel: 1, writtenLabel: 7, fraction: 0.9 },
    summary: "trained on after a labelling fault: nine in ten ones are called seven",
  },
];

/** The same images with the fault in their labels; which ones are hit depends on `random`. */
export function withLabelFault(digits: DigitSet, fault: LabelFault, random: Random): DigitSet {
  const labels = digits.labels.slice();
  const hit = [...permutation(random, digits.count)].filter(
    (index) => digits.labels[index] === fault.trueLabel,
  );
  for (const index of hit.slice(0, Math.round(hit.length * fault.fraction))) {
    labels[index] = fault.writtenLabel;
  }
  return { ...digits, labels };
}
