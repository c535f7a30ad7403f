/** Medians and a distribution-free bound of the median by order statistics. */
import { binomialUpperTail } from "./binomial.ts";

export function median(values: ArrayLike<number>): number {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/**
 * Lower confidence bound of the median at one-sided level 1 − alpha: the largest order statistic
 * x(j) with P(Bin(n, ½) ≤ j − 1) ≤ alpha (sign test inverted; exact for any distribution).
 * −Infinity when n is too small for the level.
 */
export function medianLowerBound(values: ArrayLike<number>, alpha: number): number {
  const sorted = Float64Array.from(values).sort();
  const n = sorted.length;
  let bound = Number.NEGATIVE_INFINITY;
  for (let j = 1; j <= n; j++) {
    // P(Bin(n, ½) ≤ j − 1) = P(Bin(n, ½) ≥ n − j + 1) by symmetry.
    if (binomialUpperTail(n - j + 1, n, 0.5) > alpha) break;
    bound = sorted[j - 1]!;
  }
  return bound;
}

/** Fewest pairs for which `medianLowerBound` can speak at level alpha: 2^−n ≤ alpha. */
export function pairsForBound(alpha: number): number {
  return Math.ceil(Math.log2(1 / alpha));
}
