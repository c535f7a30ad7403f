/**
 * p of a randomisation test by Monte Carlo, stopped early where the answer is plain (Besag and
 * Clifford, Biometrika 78, 1991): after `enough` draws that reach the observed value p is `enough` over
 * the draws made, else (reached + 1) / (draws + 1). Both are valid in finite samples.
 */

const enough = 10;
/** Draws per 1 / alpha: p can then fall clearly below alpha. */
const fineness = 10;
const drawsMax = 1_000_000;
const drawsLeast = 1_000;
/** Sums of the same numbers in another order differ by this much at most. */
const tolerance = 1e-9;

/** `draw` answers the statistic under the null; large values speak against it. */
export function monteCarloP(observed: number, draw: () => number, alpha: number): number {
  const wanted = Math.ceil(fineness / alpha);
  // An alpha beyond all draws is meant never to fail, so p need not be fine.
  const draws = wanted > drawsMax ? drawsLeast : wanted;
  let reached = 0;
  for (let made = 1; made <= draws; made++) {
    if (draw() >= observed - tolerance) reached++;
    if (reached === enough) return enough / made;
  }
  return (reached + 1) / (draws + 1);
}
