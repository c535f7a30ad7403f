/** The sequence of a seed is part of committed files, so it is pinned here; uniformity is sampled. */
import { describe, expect, it } from "vitest";
import { permutation, seededRandom } from "../../../shared/prng.ts";

describe("seededRandom", () => {
  it("gives the pinned sequence of a seed", () => {
    const random = seededRandom(1);
    const first = Array.from({ length: 4 }, () => random.nextUint32());
    expect(first).toEqual([393288148, 2174103013, 3814759091, 2092745082]);
  });

  it("stays within the bound and covers it", () => {
    const random = seededRandom(7);
    const counts = new Array<number>(10).fill(0);
    for (let draw = 0; draw < 10_000; draw++) counts[random.nextInt(10)]!++;
    // Binomial(10000, 0.1) has a standard deviation of 30; 5 of them.
    for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(150);
  });

  it("differs between seeds", () => {
    expect(seededRandom(1).nextUint32()).not.toBe(seededRandom(2).nextUint32());
  });
});

describe("permutation", () => {
  it("holds every index once and is repeatable", () => {
    const order = permutation(seededRandom(3), 1000);
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(permutation(seededRandom(3), 1000)).toEqual(order);
  });
});
