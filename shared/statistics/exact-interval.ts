/** The exact interval of a share (Clopper and Pearson 1934); pure. */
import { regularisedBeta } from "./beta.ts";

/** Halvings of [0, 1]: below the spacing of doubles. */
const halvings = 60;

/** Two-sided 1 − alpha interval of the share behind `hits` of `n`; [0, 1] when nothing was seen. */
export function exactInterval(hits: number, n: number, alpha: number): [number, number] {
  // I_p(k, n − k + 1) is P(Bin(n, p) ≥ k), which rises with p.
  const low = hits === 0 ? 0 : solve((p) => regularisedBeta(p, hits, n - hits + 1), alpha / 2);
  const high = hits === n ? 1 : solve((p) => regularisedBeta(p, hits + 1, n - hits), 1 - alpha / 2);
  return [low, high];
}

/** The p in [0, 1] at which a rising function reaches `target`. */
function solve(rising: (p: number) => number, target: number): number {
  let low = 0;
  let high = 1;
  for (let at = 0; at < halvings; at++) {
    const middle = (low + high) / 2;
    if (rising(middle) < target) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
