/**
 * Evidence that stays valid however often it is looked at. Every function answers ln E of an e-process:
 * under its null hypothesis P(E ever reaches 1/alpha) ≤ alpha (Ville's inequality), so a verdict may be
 * taken at any time, and evidence of stages that follow each other multiplies.
 *
 * Invariant: evidence of counts depends on the counts alone, so any order and any split into batches
 * comes to the same value; evidence of real values depends on their order and on no split.
 */
import { logBeta, regularisedBeta } from "./beta.ts";
import { logNormalCdf } from "./normal.ts";

/**
 * ln E against "a discordant sample is no more likely to be worse than better": `worse` samples were
 * right before and are wrong now, `better` the reverse. Uniform mixture over the share of worse ones in
 * (½, 1]; the one-sided beta-binomial mixture of Howard, Ramdas, McAuliffe and Sekhon (Annals of
 * Statistics 2021).
 */
export function mcnemarLogE(worse: number, better: number): number {
  const above = regularisedBeta(0.5, better + 1, worse + 1);
  return Math.LN2 * (1 + worse + better) + logBeta(worse + 1, better + 1) + Math.log(above);
}

/** Bets of the mixture: a fixed geometric grid needs no tuning (Waudby-Smith and Ramdas 2024). */
const bets = 12;
const betMost = 0.9;
const betRatio = 0.6;

/** `above` gathers evidence that the true value exceeds the supposed one, `below` that it is less. */
export type Side = "above" | "below";

/** The null: a share of at most `rate` (side above), or of at least `rate` (side below). */
export interface BernoulliTest {
  readonly rate: number;
  readonly side: Side;
}

/** ln E from `ones` and `zeros` of 0/1 observations; a mixture of constant bets. */
export function bernoulliLogE(
  counts: { ones: number; zeros: number },
  test: BernoulliTest,
): number {
  const { rate, side } = test;
  const sign = side === "above" ? 1 : -1;
  return logMean(
    betGrid({ mean: rate, low: 0, high: 1, side }).map(
      (bet) =>
        counts.ones * Math.log1p(sign * bet * (1 - rate)) +
        counts.zeros * Math.log1p(-sign * bet * rate),
    ),
  );
}

/** The null: values in [low, high] with a mean of at most `mean` (side above) or at least (below). */
export interface MeanTest {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
  readonly side: Side;
}

/** ln of the wealth of each bet; plain data, so that it can be stored. */
export type LogWealth = readonly number[];

export function noWealth(): LogWealth {
  return new Array<number>(bets).fill(0);
}

/** `value` is clipped to [low, high], which the test was promised. */
export function withObservation(wealth: LogWealth, value: number, test: MeanTest): LogWealth {
  const clipped = Math.min(test.high, Math.max(test.low, value));
  const gain = (test.side === "above" ? 1 : -1) * (clipped - test.mean);
  const grid = betGrid(test);
  return wealth.map((sum, at) => sum + Math.log1p(grid[at]! * gain));
}

export function meanLogE(wealth: LogWealth): number {
  return logMean(wealth);
}

/** Every bet keeps the wealth positive for any value in the range. */
function betGrid({ mean, low, high, side }: MeanTest): number[] {
  const loss = side === "above" ? mean - low : high - mean;
  return Array.from({ length: bets }, (_, at) => (betMost * betRatio ** at) / loss);
}

/** ln of the mean of e-values that are given as logarithms. */
export function logMean(logs: readonly number[]): number {
  return logSum(logs) - Math.log(logs.length);
}

function logSum(logs: readonly number[]): number {
  const most = Math.max(...logs);
  if (most === Number.NEGATIVE_INFINITY) return most;
  return most + Math.log(logs.reduce((sum, value) => sum + Math.exp(value - most), 0));
}

/** What the symmetric process knows: the sum and the sum of squares of its values. */
export interface Moments {
  readonly sum: number;
  readonly squares: number;
}

/**
 * ln E against "each value is symmetric around 0, or lies lower", for values of any size and any
 * variance: the one-sided normal mixture of the self-normalised bound (de la Peña; Howard et al.,
 * Probability Surveys 17, 2020; `OneSidedNormalMixture` of confseq).
 *
 * It may only ever speak for a rollback: its symmetry holds when the release does nothing, not when it
 * harms a few devices much, so the process of the negated values must never promote.
 */
export function symmetricLogE({ sum, squares }: Moments, rho: number): number {
  const spread = squares + rho;
  return (
    0.5 * Math.log((4 * rho) / spread) +
    (sum * sum) / (2 * spread) +
    logNormalCdf(sum / Math.sqrt(spread))
  );
}

/** Tunes the mixture to be sharpest when the sum of squares is `squares`, at level alpha. */
export function rhoFor(squares: number, alpha: number): number {
  const log = 2 * Math.log(1 / (2 * alpha));
  return squares / (log + Math.log(1 + log));
}

/**
 * One step of the Shiryaev–Roberts e-detector (Shin, Ramdas and Rinaldo, 2023): the log sum of
 * e-processes that started at each step before, `logFactor` being ln of the newest e-value. The mean
 * time to a false alarm is at least A when it alarms at ln A. Starts at −Infinity.
 */
export function withDetection(logDetector: number, logFactor: number): number {
  return logFactor + logSum([logDetector, 0]);
}

/** An e-detector per bet that has seen nothing; not for JSON, as −Infinity has no number there. */
export function noDetection(): LogWealth {
  return new Array<number>(bets).fill(Number.NEGATIVE_INFINITY);
}

/**
 * One e-detector per bet, moved by a value that is clipped to [low, high]. Their mean, `meanLogE`, is an
 * e-detector again, for "the mean became higher (lower) than `mean`".
 */
export function withDetections(logs: LogWealth, value: number, test: MeanTest): LogWealth {
  return withObservation(noWealth(), value, test).map((logFactor, at) =>
    withDetection(logs[at] ?? Number.NEGATIVE_INFINITY, logFactor),
  );
}
