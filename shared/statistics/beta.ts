/** The beta function and its regularised incomplete form, in doubles. */
import { logGamma } from "./gamma.ts";

/** ln B(a, b), a and b > 0. */
export function logBeta(a: number, b: number): number {
  return logGamma(a) + logGamma(b) - logGamma(a + b);
}

/** Relative change below which the continued fraction has converged. */
const epsilon = 1e-15;
const iterationsMax = 10_000;
/** Keeps Lentz's denominators away from zero. */
const tiny = 1e-300;

/**
 * I_x(a, b), regularised incomplete beta function: the continued fraction 8.17.22 of the NIST Digital
 * Library of Mathematical Functions by Lentz's method, on the side where it converges fast.
 */
export function regularisedBeta(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - regularisedBeta(1 - x, b, a);
  const front = Math.exp(a * Math.log(x) + b * Math.log1p(-x) - logBeta(a, b)) / a;
  return front / fraction(x, a, b);
}

/** 1 + d1/(1 + d2/(1 + …)) of DLMF 8.17.22. */
function fraction(x: number, a: number, b: number): number {
  let value = 1;
  let c = 1;
  let d = 0;
  for (let step = 1; step <= iterationsMax; step++) {
    const term = coefficient(step, { x, a, b });
    d = 1 / away(1 + term * d);
    c = away(1 + term / c);
    const change = c * d;
    value *= change;
    if (Math.abs(change - 1) < epsilon) break;
  }
  return value;
}

function coefficient(step: number, { x, a, b }: { x: number; a: number; b: number }): number {
  const m = step >> 1;
  if (step % 2 === 0) return (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
  return (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
}

const away = (value: number): number => (Math.abs(value) < tiny ? tiny : value);
