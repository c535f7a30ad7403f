/** The logarithm of the gamma function for positive arguments. */

/** Above this Stirling's series is exact to 1e-14. */
const seriesMin = 16;

/** ln Γ(x), x > 0: Stirling's series (DLMF 5.11.1), reached by recurrence for small x. */
export function logGamma(x: number): number {
  let shift = 0;
  let at = x;
  while (at < seriesMin) {
    shift += Math.log(at);
    at += 1;
  }
  const square = at * at;
  const series = (1 / 12 - (1 / 360 - (1 / 1260 - 1 / (1680 * square)) / square) / square) / at;
  return (at - 0.5) * Math.log(at) - at + 0.5 * Math.log(2 * Math.PI) + series - shift;
}

/** ln(n!) for integers n ≥ 0. */
export function logFactorial(n: number): number {
  return logGamma(n + 1);
}
