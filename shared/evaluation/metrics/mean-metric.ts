/**
 * Metrics that are a function of the mean of bounded losses. Below a floor: a betting e-process on the
 * losses, valid for any distribution on [0, 1]. Worse than the old model: sign flips of the paired
 * differences, exact when old and new are exchangeable on each sample; unlike the sign test it sees a
 * loss that few samples bear.
 */
import { type MeanTest, meanLogE, noWealth, withObservation } from "../../statistics/e-process.ts";
import type { Judged, Metric, Pair } from "./metric.ts";
import { monteCarloP } from "./monte-carlo.ts";

/** Two-sided 95 % quantile of the normal distribution. */
const z95 = 1.959963984540054;
const bisections = 30;

export interface MeanRule {
  /** The value at a mean loss, and the mean loss at a value; both fall. */
  readonly valueAt: (meanLoss: number) => number;
  readonly lossAt: (value: number) => number;
  /** True when a drop of the value is a rise of the mean loss. */
  readonly linear: boolean;
}

export function meanMetric(
  how: Pick<Metric, "truth" | "output" | "says" | "lossOf"> & { rule: MeanRule },
): Metric {
  const { rule, ...facts } = how;
  return {
    ...facts,
    estimate({ losses }) {
      const n = losses.length;
      const mean = sumOf(losses) / Math.max(1, n);
      const squares = losses.reduce((sum, loss) => sum + (loss - mean) ** 2, 0);
      const error = n < 2 ? 1 : z95 * Math.sqrt(squares / (n - 1) / n);
      const at = (loss: number) => rule.valueAt(Math.min(1, Math.max(0, loss)));
      return { value: n === 0 ? 0 : at(mean), low: at(mean + error), high: at(mean - error) };
    },
    isBelow: ({ losses }, floor, alpha) => exceeds(losses, rule.lossAt(floor), alpha),
    worseP: (pair, alpha, random) => {
      const changes = changesOf(pair);
      const flipped = () => {
        let sum = 0;
        let bits = 0;
        for (let at = 0; at < changes.length; at++) {
          if (at % 32 === 0) bits = random.nextUint32();
          sum += bits & 1 ? changes[at]! : -changes[at]!;
          bits >>>= 1;
        }
        return sum;
      };
      return monteCarloP(sumOf(changes), flipped, alpha);
    },
    dropBound(pair, alpha) {
      if (!rule.linear) return undefined;
      const changes = changesOf(pair);
      // The evidence against "the drop is at least m" rises with m.
      const excluded = (m: number) =>
        evidence(changes, { mean: m, low: -1, high: 1, side: "below" }) >= Math.log(1 / alpha);
      let [low, high] = [-1, 1];
      for (let step = 0; step < bisections; step++) {
        const middle = (low + high) / 2;
        if (excluded(middle)) high = middle;
        else low = middle;
      }
      return high;
    },
  };
}

function exceeds(losses: Float64Array, mean: number, alpha: number): boolean {
  if (mean >= 1) return false;
  if (mean <= 0) return losses.some((loss) => loss > 0);
  return evidence(losses, { mean, low: 0, high: 1, side: "above" }) >= Math.log(1 / alpha);
}

function evidence(values: Float64Array, test: MeanTest): number {
  let wealth = noWealth();
  for (const value of values) wealth = withObservation(wealth, value, test);
  return meanLogE(wealth);
}

function changesOf({ fresh, old }: Pair): Float64Array {
  return fresh.losses.map((loss, at) => loss - old.losses[at]!);
}

const sumOf = (values: Judged["losses"]) => values.reduce((sum, value) => sum + value, 0);
