/** The exact interval against published values and its own definition. */
import { expect, it } from "vitest";
import { binomialUpperTail } from "../../../shared/statistics/binomial.ts";
import { exactInterval } from "../../../shared/statistics/exact-interval.ts";

it("has the closed forms at the edges", () => {
  // The "rule of three" made exact: 1 − 0.025^(1/n).
  const [low, high] = exactInterval(0, 10, 0.05);
  expect(low).toBe(0);
  expect(high).toBeCloseTo(1 - 0.025 ** 0.1, 12);
  expect(exactInterval(10, 10, 0.05)[0]).toBeCloseTo(0.025 ** 0.1, 12);
  expect(exactInterval(0, 0, 0.05)).toEqual([0, 1]);
});

it.each([
  [1, 4000],
  [7, 20],
  [50, 100],
])("%i of %i: both tails are half of alpha at its ends", (hits, n) => {
  const [low, high] = exactInterval(hits, n, 0.05);
  expect(binomialUpperTail(hits, n, low)).toBeCloseTo(0.025, 8);
  expect(1 - binomialUpperTail(hits + 1, n, high)).toBeCloseTo(0.025, 8);
});
