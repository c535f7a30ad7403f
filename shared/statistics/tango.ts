/**
 * Non-inferiority of paired answers: Tango's score bound for the difference of two paired shares.
 * Tango (1998), Statistics in Medicine 17:891–908.
 */
import { normalQuantile } from "./normal.ts";

const bisections = 60;

/**
 * Upper bound, at one-sided level 1 − alpha, of (worse − better) / n: by how much the share of right
 * answers may have fallen. `worse` samples were right before and are wrong now, `better` the reverse.
 * 1 without samples.
 */
export function tangoUpperBound(worse: number, better: number, n: number, alpha: number): number {
  if (n === 0) return 1;
  const z = normalQuantile(1 - alpha);
  let low = (worse - better) / n;
  let high = 1;
  // The score falls as the supposed difference rises.
  for (let step = 0; step < bisections; step++) {
    const middle = (low + high) / 2;
    if (score(worse, better, n, middle) > -z) low = middle;
    else high = middle;
  }
  return high;
}

/** Tango's score statistic for the supposed difference `delta` (his equation 10). */
function score(worse: number, better: number, n: number, delta: number): number {
  // Maximum-likelihood share of `better` under the supposed difference: the root of a square equation.
  const a = 2 * n;
  const b = -worse - better + (2 * n - worse + better) * delta;
  const c = -better * delta * (1 - delta);
  const share = (Math.sqrt(Math.max(0, b * b - 4 * a * c)) - b) / (2 * a);
  const variance = n * (2 * share + delta * (1 - delta));
  const difference = worse - better - n * delta;
  if (variance <= 0) return difference < 0 ? Number.NEGATIVE_INFINITY : 0;
  return difference / Math.sqrt(variance);
}
