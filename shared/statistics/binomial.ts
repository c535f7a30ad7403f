/** Exact binomial probabilities and the intervals built on them; pure arithmetic in doubles. */
import { assert } from "../assert.ts";
import { logFactorial } from "./gamma.ts";

/** P(X = k) for X ~ Bin(n, p). */
function binomialMass(k: number, n: number, p: number): number {
  if (p <= 0) return k === 0 ? 1 : 0;
  if (p >= 1) return k === n ? 1 : 0;
  const choose = logFactorial(n) - logFactorial(k) - logFactorial(n - k);
  return Math.exp(choose + k * Math.log(p) + (n - k) * Math.log1p(-p));
}

/** P(X ≥ k) for X ~ Bin(n, p). */
export function binomialUpperTail(k: number, n: number, p: number): number {
  assert(n >= 0 && k <= n + 1, `binomial tail of ${k} in ${n}`);
  if (k <= 0) return 1;
  let sum = 0;
  for (let at = k; at <= n; at++) sum += binomialMass(at, n, p);
  return Math.min(1, sum);
}

/**
 * Exact one-sided McNemar test: P(Bin(b + c, ½) ≥ b), where b samples got worse and c better.
 * Dietterich (1998); exact, since mid-p has no guarantee.
 */
export function mcnemarExact(worse: number, better: number): number {
  return binomialUpperTail(worse, worse + better, 0.5);
}

/** Two-sided 95 % quantile of the normal distribution. */
const z95 = 1.959963984540054;

/** Wilson score interval (1927) of a share, two-sided 95 %. */
export function wilsonInterval(hits: number, n: number): [number, number] {
  if (n === 0) return [0, 1];
  const share = hits / n;
  const centre = share + z95 ** 2 / (2 * n);
  const spread = z95 * Math.sqrt((share * (1 - share)) / n + z95 ** 2 / (4 * n * n));
  const scale = 1 + z95 ** 2 / n;
  return [Math.max(0, (centre - spread) / scale), Math.min(1, (centre + spread) / scale)];
}
