/**
 * Evidence processes against what defines them: an e-value has a mean of at most 1 under its null, summed
 * here over every possible sample, and each special function has an oracle that shares no code with it.
 */
import { describe, expect, it } from "vitest";
import { seededRandom } from "../../../shared/prng.ts";
import { logBeta, regularisedBeta } from "../../../shared/statistics/beta.ts";
import { binomialUpperTail } from "../../../shared/statistics/binomial.ts";
import {
  bernoulliLogE,
  mcnemarLogE,
  meanLogE,
  noWealth,
  rhoFor,
  symmetricLogE,
  withDetection,
  withObservation,
} from "../../../shared/statistics/e-process.ts";
import { logGamma } from "../../../shared/statistics/gamma.ts";
import { logNormalCdf, normalQuantile } from "../../../shared/statistics/normal.ts";
import { tangoUpperBound } from "../../../shared/statistics/tango.ts";

/** P(Bin(n, p) = k) by the differences of the tail, which is tested against big integers. */
const mass = (k: number, n: number, p: number) =>
  binomialUpperTail(k, n, p) - binomialUpperTail(k + 1, n, p);

const meanOver = (n: number, p: number, logE: (ones: number) => number) =>
  Array.from({ length: n + 1 }, (_, ones) => mass(ones, n, p) * Math.exp(logE(ones))).reduce(
    (sum, value) => sum + value,
    0,
  );

/** ∫ from `from` to 1 of t^(a−1) (1−t)^(b−1), by Simpson's rule. */
function betaIntegral(from: number, a: number, b: number): number {
  const steps = 20_000;
  const width = (1 - from) / steps;
  const at = (t: number) => t ** (a - 1) * (1 - t) ** (b - 1);
  let sum = at(from) + at(1);
  for (let step = 1; step < steps; step++)
    sum += (step % 2 === 1 ? 4 : 2) * at(from + step * width);
  return (sum * width) / 3;
}

/** The score statistic with the share of `better` found by search instead of by formula. */
function scoreOf(
  worse: number,
  better: number,
  { n, delta }: { n: number; delta: number },
): number {
  let best = { likelihood: Number.NEGATIVE_INFINITY, share: 0 };
  const steps = 200_000;
  for (let step = 0; step <= steps; step++) {
    const share = ((1 - delta) / 2) * (step / steps);
    const term = (count: number, p: number) => (count === 0 ? 0 : count * Math.log(p));
    const likelihood =
      term(worse, share + delta) +
      term(better, share) +
      term(n - worse - better, 1 - 2 * share - delta);
    if (likelihood > best.likelihood) best = { likelihood, share };
  }
  const variance = n * (2 * best.share + delta - delta * delta);
  return (worse - better - n * delta) / Math.sqrt(variance);
}

describe("special functions", () => {
  it("ln Γ at integers and halves", () => {
    expect(logGamma(1)).toBeCloseTo(0, 13);
    expect(logGamma(11)).toBeCloseTo(Math.log(3_628_800), 12);
    expect(logGamma(0.5)).toBeCloseTo(Math.log(Math.PI) / 2, 12);
    expect(logGamma(171) / 706.573_062_245_787_4).toBeCloseTo(1, 13);
  });
  it.each([
    [3, 4, 0.3],
    [1, 40, 0.5],
    [12.5, 2, 0.9],
  ])("incomplete beta B(%d, %d) from %d", (a, b, x) => {
    const whole = Math.exp(logBeta(a, b));
    expect(1 - regularisedBeta(x, a, b)).toBeCloseTo(betaIntegral(x, a, b) / whole, 8);
  });
  it("the incomplete beta is the binomial tail", () => {
    for (const [k, n, p] of [
      [3, 10, 0.2],
      [60, 100, 0.5],
      [990, 1000, 0.98],
    ] as const)
      expect(regularisedBeta(p, k, n - k + 1) / binomialUpperTail(k, n, p)).toBeCloseTo(1, 8);
  });
  it("the normal distribution, far into its tail", () => {
    // Values of Wolfram's and R's pnorm(log.p = TRUE).
    expect(logNormalCdf(0)).toBeCloseTo(-Math.LN2, 14);
    expect(logNormalCdf(-1.96)).toBeCloseTo(Math.log(0.024_997_895_148_220_43), 11);
    expect(logNormalCdf(-10)).toBeCloseTo(-53.231_285_150_512_47, 9);
    expect(logNormalCdf(3.5)).toBeCloseTo(Math.log1p(-0.000_232_629_079_035_525_04), 14);
    expect(logNormalCdf(-2.999_999)).toBeCloseTo(logNormalCdf(-3.000_001), 4);
    expect(normalQuantile(0.975)).toBeCloseTo(1.959_963_984_540_054, 9);
  });
});

describe("an e-process has a mean of at most 1 under its null", () => {
  it.each([1, 7, 40, 200])("McNemar's with %i discordant samples", (n) => {
    expect(meanOver(n, 0.5, (worse) => mcnemarLogE(worse, n - worse))).toBeCloseTo(1, 8);
    expect(meanOver(n, 0.4, (worse) => mcnemarLogE(worse, n - worse))).toBeLessThan(1);
  });
  it.each([
    ["above", 0.02, [0.02, 0.01, 0]],
    ["below", 0.05, [0.05, 0.1, 0.9]],
  ] as const)("a share, %s %d", (side, rate, truths) => {
    for (const truth of truths) {
      const logE = (ones: number) => bernoulliLogE({ ones, zeros: 150 - ones }, { rate, side });
      expect(meanOver(150, truth, logE)).toBeLessThan(1 + 1e-9);
    }
  });
  it("the symmetric one, over every sign of any magnitudes", () => {
    const random = seededRandom(4);
    for (const rho of [0.01, 1, 25]) {
      const sizes = Array.from({ length: 12 }, () => 10 ** (random.nextFloat() * 4 - 2));
      const squares = sizes.reduce((sum, size) => sum + size * size, 0);
      let mean = 0;
      for (let signs = 0; signs < 1 << 12; signs++) {
        const sum = sizes.reduce((to, size, at) => to + ((signs >> at) & 1 ? size : -size), 0);
        mean += Math.exp(symmetricLogE({ sum, squares }, rho)) / (1 << 12);
      }
      expect(mean).toBeLessThan(1 + 1e-9);
    }
  });
  it("a bounded mean, over every sequence of its extremes", () => {
    const test = { mean: 0.02, low: -1, high: 1, side: "below" } as const;
    // Values −1 and 1 with a mean of exactly 0.02.
    const up = 0.51;
    const ends = (depth: number, wealth: readonly number[]): number =>
      depth === 0
        ? Math.exp(meanLogE(wealth))
        : up * ends(depth - 1, withObservation(wealth, 1, test)) +
          (1 - up) * ends(depth - 1, withObservation(wealth, -1, test));
    expect(ends(10, noWealth())).toBeCloseTo(1, 9);
  });
});

describe("an e-process gathers evidence", () => {
  it.each([
    [9, 1],
    [30, 14],
    [3, 0],
    [2, 20],
  ])(
    "McNemar's is the mixture of likelihood ratios, of %i worse and %i better",
    (worse, better) => {
      // 2 ∫ (2θ)^worse (2(1−θ))^better over θ in (½, 1].
      const mixture = 2 ** (worse + better + 1) * betaIntegral(0.5, worse + 1, better + 1);
      expect(Math.exp(mcnemarLogE(worse, better)) / mixture).toBeCloseTo(1, 8);
    },
  );
  it("of a healthy mean, only as fast as its range allows", () => {
    let wealth = noWealth();
    const test = { mean: 0.02, low: -1, high: 1, side: "below" } as const;
    let pairs = 0;
    while (meanLogE(wealth) < Math.log(20)) {
      wealth = withObservation(wealth, 0, test);
      pairs++;
    }
    // The highest bet alone, and the highest bet with all others lost.
    const growth = Math.log1p((0.9 / 0.98) * 0.02);
    expect(pairs).toBeGreaterThan(Math.log(20) / growth);
    expect(pairs).toBeLessThan(Math.log(20 * 12) / growth + 1);
  });
  it("from the moments alone, whatever the order", () => {
    const rho = rhoFor(25 * 0.018 ** 2, 0.01);
    const drop = (n: number) =>
      symmetricLogE({ sum: 0.02 * n, squares: (0.02 ** 2 + 0.018 ** 2) * n }, rho);
    expect(drop(10)).toBeLessThan(Math.log(100));
    expect(drop(30)).toBeGreaterThan(Math.log(100));
  });
  it("the detector restarts after every step", () => {
    // With e-values of 1 the detector counts its steps.
    let detector = Number.NEGATIVE_INFINITY;
    for (let at = 0; at < 50; at++) detector = withDetection(detector, 0);
    expect(Math.exp(detector)).toBeCloseTo(50, 9);
  });
});

describe("Tango's bound", () => {
  it.each([
    [12, 2, 50],
    [5, 5, 500],
    [0, 0, 200],
    [7, 0, 40],
  ])("is where the score test of %i worse and %i better of %i just refuses", (worse, better, n) => {
    const bound = tangoUpperBound(worse, better, n, 0.025);
    expect(scoreOf(worse, better, { n, delta: bound })).toBeCloseTo(-1.959_964, 2);
  });
  it("covers at the margin: size 4 to 5 %", () => {
    const random = seededRandom(9);
    const runs = 4_000;
    let passed = 0;
    for (let run = 0; run < runs; run++) {
      let worse = 0;
      let better = 0;
      for (let at = 0; at < 500; at++) {
        const draw = random.nextFloat();
        if (draw < 0.03) worse++;
        else if (draw < 0.04) better++;
      }
      if (tangoUpperBound(worse, better, 500, 0.05) < 0.02) passed++;
    }
    expect(passed / runs).toBeLessThan(0.05 + 3 * Math.sqrt((0.05 * 0.95) / runs));
    expect(passed / runs).toBeGreaterThan(0.03);
  });
});
