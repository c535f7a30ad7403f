/** Exact tests and bounds, against sums and simulations that share no code with them. */
import { describe, expect, it } from "vitest";
import { seededRandom } from "../../../shared/prng.ts";
import {
  binomialUpperTail,
  mcnemarExact,
  wilsonInterval,
} from "../../../shared/statistics/binomial.ts";
import { median, medianLowerBound, pairsForBound } from "../../../shared/statistics/median.ts";

/** Pascal's triangle in BigInt: no logarithm, no approximation. */
function exactTail(k: number, n: number, numerator: bigint, denominator: bigint): number {
  let sum = 0n;
  let choose = 1n;
  for (let at = 0; at <= n; at++) {
    if (at >= k)
      sum += choose * numerator ** BigInt(at) * (denominator - numerator) ** BigInt(n - at);
    choose = (choose * BigInt(n - at)) / BigInt(at + 1);
  }
  return Number((sum * 10n ** 30n) / denominator ** BigInt(n)) / 1e30;
}

describe("the binomial tail", () => {
  it.each([
    [0, 10, 1n, 2n],
    [3, 10, 1n, 2n],
    [10, 500, 1n, 200n],
    [46, 48, 1n, 2n],
    [1, 3, 1n, 1000n],
    [120, 1000, 1n, 10n],
  ])("P(Bin ≥ %i) of %i", (k, n, numerator, denominator) => {
    const p = Number(numerator) / Number(denominator);
    const exact = exactTail(k, n, numerator, denominator);
    expect(binomialUpperTail(k, n, p) / exact).toBeCloseTo(1, 9);
  });
  it("is McNemar's test at one half", () => {
    expect(mcnemarExact(5, 0)).toBeCloseTo(1 / 32, 12);
    expect(mcnemarExact(0, 0)).toBe(1);
  });
});

describe("Wilson's interval", () => {
  it("agrees with published values (Newcombe 1998, Table I: 81/263)", () => {
    const [low, high] = wilsonInterval(81, 263);
    expect(low).toBeCloseTo(0.2553, 4);
    expect(high).toBeCloseTo(0.3662, 4);
  });
});

describe("the bound of a median", () => {
  it("speaks from the fewest pairs on", () => {
    const alpha = 0.001 / 3;
    const pairs = pairsForBound(alpha);
    expect(medianLowerBound(new Array(pairs).fill(2), alpha)).toBe(2);
    expect(medianLowerBound(new Array(pairs - 1).fill(2), alpha)).toBe(Number.NEGATIVE_INFINITY);
  });
  it("exceeds the true median in at most a share alpha of samples", () => {
    const random = seededRandom(5);
    const runs = 4_000;
    const alpha = 0.02;
    let wrong = 0;
    for (let run = 0; run < runs; run++) {
      // Skewed noise whose median is 1.
      const values = Array.from({ length: 18 }, () =>
        random.nextFloat() < 0.5 ? random.nextFloat() : 1 + 9 * random.nextFloat(),
      );
      if (medianLowerBound(values, alpha) > 1) wrong++;
    }
    expect(wrong / runs).toBeLessThanOrEqual(alpha + 3 * Math.sqrt((alpha * (1 - alpha)) / runs));
  });
  it("has the plain median beside it", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
  });
});
