/** The coin of a latency comparison: it alone says which model of a pair runs first. */
import { expect, it } from "vitest";
import { compareLatency } from "../../../shared/inference/compare-latency.ts";
import type { Runner } from "../../../shared/inference/runner.ts";
import { median } from "../../../shared/statistics/median.ts";

const coins = [0.1, 0.9, 0.49, 0.5, 0.2];

/** Each block takes longer than the one before it, as on a machine that warms up. */
function models() {
  const order: string[] = [];
  const runner = (name: string, msPerRun: number) =>
    ({
      async benchmark({ runs }: { runs: number }) {
        order.push(name);
        const ms = msPerRun * 1.2 ** order.length;
        return { latenciesMs: new Array(runs).fill(ms), cpuMs: ms * runs };
      },
    }) as unknown as Runner;
  return { order, fresh: runner("new", 1), running: runner("old", 1) };
}

async function compare(coin: (draw: number) => number) {
  const { order, fresh, running } = models();
  let draws = 0;
  const random = { bytes: () => new Uint8Array(), fraction: () => coin(draws++) };
  const found = await compareLatency(fresh, running, { alpha: 0.01, random, energy: undefined });
  // The first two blocks are for warming up.
  const pairs = Array.from({ length: draws }, (_, pair) => order.slice(2 + 2 * pair, 4 + 2 * pair));
  return { found, pairs };
}

it("heads runs the old model first, tails the new one, in each pair anew", async () => {
  const { pairs } = await compare((draw) => coins[draw % coins.length]!);
  expect(pairs.length).toBeGreaterThan(coins.length);
  for (const [draw, pair] of pairs.entries()) {
    const isOldFirst = coins[draw % coins.length]! < 0.5;
    expect(pair).toEqual(isOldFirst ? ["old", "new"] : ["new", "old"]);
  }
});

it("gives each model's time to that model, whichever ran first", async () => {
  const oldFirst = await compare(() => 0);
  const newFirst = await compare(() => 0.99);
  expect(median(oldFirst.found.wallRatios)).toBeCloseTo(1.2, 6);
  expect(median(newFirst.found.wallRatios)).toBeCloseTo(1 / 1.2, 6);
  expect(median(newFirst.found.cpuRatios)).toBeCloseTo(1 / 1.2, 6);
});
