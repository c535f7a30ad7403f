/** e-BH: which of many strata to look at, and why only the values of one look may be given to it. */
import { describe, expect, it } from "vitest";
import { normal } from "../../../scripts/simulate/verdicts/draws.ts";
import { seededRandom } from "../../../shared/prng.ts";
import { eBenjaminiHochberg } from "../../../shared/statistics/e-bh.ts";
import { rhoFor, symmetricLogE } from "../../../shared/statistics/e-process.ts";

const fdr = 0.05;
const named = (values: readonly number[]) =>
  eBenjaminiHochberg(
    values.map((value) => Math.log(value)),
    fdr,
  );

describe("e-BH", () => {
  it.each([
    ["nobody", [1, 2, 79, 39.9], [false, false, false, false]],
    ["one that reaches K/fdr", [80, 2, 1, 1], [true, false, false, false]],
    ["two at half of it", [40, 1, 40, 1], [true, false, true, false]],
    ["all at 1/fdr, though none alone would", [20, 20, 20, 20], [true, true, true, true]],
    ["a weak one that a strong one does not carry", [1e9, 39, 1, 1], [true, false, false, false]],
    ["none of nothing", [], []],
  ])("names %s", (_, values, wanted) => expect(named(values)).toEqual(wanted));

  it("takes a value that is beyond any number", () => {
    expect(named([Number.POSITIVE_INFINITY, 0])).toEqual([true, false]);
  });
});

/**
 * Healthy strata in a world that is as bad as martingales allow: with probability fdr/j, exactly j of
 * them climb to K/(fdr·j) and are ruined after it; all others are ruined on their way. Each climbs through
 * the same steps K/(fdr·K), K/(fdr·(K−1)), …; alone it is a martingale that starts at 1.
 */
describe("a world of healthy strata that conspire", () => {
  const strata = 40;
  const height = (j: number) => strata / (fdr * j);
  const cases = Array.from({ length: strata }, (_, at) => at + 1).map((j) => {
    return { j, probability: fdr / j };
  });
  const falseNames = (valuesOf: (j: number) => number[]) =>
    cases
      .filter(({ j }) => named(valuesOf(j)).includes(true))
      .reduce((sum, { probability }) => sum + probability, 0);
  const filled = (j: number, value: number) =>
    Array.from({ length: strata }, (_, at) => (at < j ? value : 0));

  it("holds the rate at every single look", () => {
    for (let step = strata; step >= 1; step--) {
      // At this step those are still there that climb as far or further.
      const rate = falseNames((j) => filled(j, j <= step ? height(step) : 0));
      expect(rate).toBeGreaterThan(0);
      expect(rate).toBeLessThanOrEqual(fdr + 1e-12);
      const mean = cases.reduce(
        (sum, { j, probability }) => sum + (j <= step ? probability * (j / strata) : 0),
        0,
      );
      expect(mean * height(step)).toBeLessThanOrEqual(1 + 1e-12);
    }
  });
  it("breaks it fourfold on running maxima", () => {
    expect(falseNames((j) => filled(j, height(j)))).toBeGreaterThan(4 * fdr);
  });
});

describe("bad strata among many", () => {
  const pairs = 40;
  const deviation = 0.018;
  const rho = rhoFor(25 * deviation ** 2, 0.01);
  const draw = (seed: number, bad: number) => {
    const random = seededRandom(seed);
    return Array.from({ length: 24 }, (_, stratum) => {
      let moments = { sum: 0, squares: 0 };
      for (let pair = 0; pair < pairs; pair++) {
        const drop = deviation * normal(random) + (stratum < bad ? 0.02 : 0);
        moments = { sum: moments.sum + drop, squares: moments.squares + drop ** 2 };
      }
      return symmetricLogE(moments, rho);
    });
  };

  it("are found, and few others with them", () => {
    const runs = 400;
    let found = 0;
    let share = 0;
    for (let seed = 0; seed < runs; seed++) {
      const names = eBenjaminiHochberg(draw(seed, 4), fdr);
      const all = names.filter(Boolean).length;
      const right = names.slice(0, 4).filter(Boolean).length;
      found += right / 4;
      share += all === 0 ? 0 : (all - right) / all;
    }
    // Reference, rollout statistics §2.2: power 0.995, rate 0.001.
    expect(found / runs).toBeGreaterThan(0.97);
    expect(share / runs).toBeLessThan(fdr / 5);
  });
  it("are not invented", () => {
    const runs = 1_000;
    let invented = 0;
    for (let seed = 0; seed < runs; seed++) {
      if (eBenjaminiHochberg(draw(50_000 + seed, 0), fdr).includes(true)) invented++;
    }
    expect(invented / runs).toBeLessThan(fdr);
  });
});
