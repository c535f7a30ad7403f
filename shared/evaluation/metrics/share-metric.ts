/** Metrics whose loss is 0 or 1: a share of samples, with exact tests. */
import { binomialUpperTail, mcnemarExact, wilsonInterval } from "../../statistics/binomial.ts";
import { tangoUpperBound } from "../../statistics/tango.ts";
import { flipsOf, type Judged, type Metric } from "./metric.ts";

export function shareMetric(how: Pick<Metric, "truth" | "output" | "says" | "lossOf">): Metric {
  return {
    ...how,
    isShare: true,
    estimate(judged) {
      const n = judged.losses.length;
      const hits = hitsOf(judged);
      const [low, high] = wilsonInterval(hits, n);
      return { value: n === 0 ? 0 : hits / n, low, high };
    },
    /** P(Bin(n, floor) ≤ hits) ≤ alpha. */
    isBelow(judged, floor, alpha) {
      const n = judged.losses.length;
      return binomialUpperTail(n - hitsOf(judged), n, 1 - floor) <= alpha;
    },
    worseP(pair) {
      const { worse, better } = flipsOf(pair);
      return mcnemarExact(worse, better);
    },
    dropBound(pair, alpha) {
      const { worse, better } = flipsOf(pair);
      return tangoUpperBound(worse, better, pair.fresh.losses.length, alpha);
    },
  };
}

function hitsOf({ losses }: Judged): number {
  return losses.reduce((hits, loss) => hits + (loss === 0 ? 1 : 0), 0);
}
