/** The standard normal distribution in doubles. */

/** Below this the tail is taken from its continued fraction. */
const tailStart = -3;
const tailTerms = 200;
const seriesTerms = 200;

/** ln Φ(x), accurate in relative terms far into the left tail. */
export function logNormalCdf(x: number): number {
  if (x > -tailStart) return Math.log1p(-Math.exp(logTail(-x)));
  if (x < tailStart) return logTail(x);
  return Math.log(0.5 + seriesPart(x));
}

/** Φ(x) − ½ by the series of Abramowitz and Stegun 26.2.11. */
function seriesPart(x: number): number {
  let term = x;
  let sum = x;
  for (let k = 1; k < seriesTerms; k++) {
    term *= (x * x) / (2 * k + 1);
    sum += term;
    if (Math.abs(term) < 1e-17 * Math.abs(sum)) break;
  }
  return sum * density(x);
}

/** ln Φ(x) for x < 0 by the continued fraction of Abramowitz and Stegun 26.2.14. */
function logTail(x: number): number {
  const t = -x;
  let fraction = t;
  for (let k = tailTerms; k >= 1; k--) fraction = t + k / fraction;
  return -0.5 * t * t - 0.5 * Math.log(2 * Math.PI) - Math.log(fraction);
}

function density(x: number): number {
  return Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
}

const bisections = 80;
const quantileMax = 38;

/** x with Φ(x) = p, 0 < p < 1, by bisection. */
export function normalQuantile(p: number): number {
  const target = Math.log(p);
  let low = -quantileMax;
  let high = quantileMax;
  for (let step = 0; step < bisections; step++) {
    const middle = (low + high) / 2;
    if (logNormalCdf(middle) < target) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
