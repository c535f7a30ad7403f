/**
 * What a pair of devices is compared on. The golden metric is measured in the trial and carries the claim;
 * live signals are the canary's change since before the release against its control's, at horizons after
 * the commit, and can take a release back but never promote it. A new live signal is one entry here.
 *
 * Invariant: a live signal that rolls back is as likely up as down when the release does nothing. Agreement
 * with the model before is not: every new model differs a little, so people read it and it decides nothing.
 */
import { z } from "zod";
import { nameSchema } from "../../../shared/artifact/names.ts";
import type { SignalName } from "../../../shared/protocol/messages/observation.ts";

/** One number per pair of devices, as a difference of shares in [−1, 1]; above 0 is worse. */
export const signalSchema = z.strictObject({
  name: nameSchema,
  /**
   * A mean drop of this size or more must not reach the whole fleet; of a signal that does not promote, the
   * size for which the power is stated.
   */
  deltaMax: z.number().gt(0).lt(1),
  /** Usual standard deviation of a pair, from A/A history; it tunes power and never validity. */
  deviation: z.number().gt(0).lt(1),
  /**
   * Times after the switch at which a pair is compared, rising; the last one may promote. 0 is the trial
   * itself.
   */
  horizonsMs: z.array(z.int().min(0)).min(1).max(8),
  /** Whether a claim needs it; a signal of live traffic may be missing, and nothing waits for it. */
  promotes: z.boolean().default(true),
  /** Whether it may take a release back; false for what only people read. */
  rollsBack: z.boolean().default(true),
  /** d0 of the reference: a drop up to this size is borne. */
  tolerated: z.number().min(0).lt(1).default(0),
  /** How much of the pairs' error each of its horizons gets, against 1 of another. */
  weight: z.number().gt(0).max(1_000).default(1),
});
export type Signal = z.infer<typeof signalSchema>;

/** A live signal as devices report it, before the commit and after it. */
interface LiveSignal extends Omit<Signal, "name" | "horizonsMs" | "promotes" | "weight"> {
  readonly name: SignalName;
  /** Whether a higher value is worse. */
  readonly higherIsWorse: boolean;
  readonly words: string;
}

export const liveSignals: readonly LiveSignal[] = [
  {
    name: "errors",
    words: "share of calls without an answer",
    higherIsWorse: true,
    deltaMax: 0.05,
    // Calls that fail in 0.5 % of 200 calls, four times; it tunes and promises nothing.
    deviation: 0.01,
    tolerated: 0,
    rollsBack: true,
  },
  {
    name: "over-slo",
    words: "share of answers later than the latency objective",
    higherIsWorse: true,
    deltaMax: 0.1,
    deviation: 0.03,
    // Gate 2 lets a model pass that is a little slower.
    tolerated: 0.01,
    rollsBack: true,
  },
  {
    name: "agreement",
    words: "share of answers that the model before does not give",
    higherIsWorse: false,
    deltaMax: 0.02,
    deviation: 0.01,
    tolerated: 0,
    rollsBack: false,
  },
];

const goldenMetric = {
  name: "golden-metric",
  deltaMax: 0.02,
  deviation: 0.018,
  horizonsMs: [0],
  promotes: true,
  rollsBack: true,
  tolerated: 0,
};

/** Live signals together have half as much of the pairs' error as the golden metric. */
const goldenOverLive = 2;

/** The signals of a rollout whose devices report at these times after the commit, rising. */
export function signalsFor(horizonsMs: readonly number[]): Signal[] {
  if (horizonsMs.length === 0) return [{ ...goldenMetric, weight: 1 }];
  const live = liveSignals.map(({ words: _words, higherIsWorse: _worse, ...signal }) => {
    return { ...signal, horizonsMs: [...horizonsMs], promotes: false, weight: 1 };
  });
  const series = live.filter(({ rollsBack }) => rollsBack).length * horizonsMs.length;
  return [{ ...goldenMetric, weight: goldenOverLive * series }, ...live];
}

/** What the signal measures, in words. */
export function signalWords(name: string): string {
  return liveSignals.find((signal) => signal.name === name)?.words ?? name;
}
