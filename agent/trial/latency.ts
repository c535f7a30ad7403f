/**
 * Old against new in the same thermal state: pairs of blocks in ABBA order, one ratio of block
 * medians per pair.
 *
 * The order cancels drift; the median of a block shrugs off preemption; the bound over the pairs is
 * a sign test, so a busy machine widens it but does not tilt it. A block is short, so that the two
 * blocks of a pair see the same load.
 */

import type { Runner } from "../../shared/inference/runner.ts";
import { median, pairsForBound } from "../../shared/statistics/median.ts";

/** Time that one block should take, in ms. */
const blockMs = 25;
const runsMin = 8;
const runsMax = 400;
/** Pairs beyond the fewest for the level: a healthy bound may then miss some pairs. */
const extraPairs = 6;
/** Warm-up runs of each model before anything counts. */
const warmUpRuns = 32;
/** Old-model blocks that differ by more than this say that the machine is too loaded to judge. */
const spreadMax = 3;

export interface LatencyComparison {
  /** Median time of the new model over that of the old one, per pair. */
  readonly ratios: readonly number[];
  readonly newP50Ms: number;
  readonly oldP50Ms: number;
  /** Why the comparison cannot decide, in words. */
  readonly degraded: string | undefined;
}

export async function compareLatency(
  fresh: Runner,
  running: Runner,
  alpha: number,
): Promise<LatencyComparison> {
  const warm = await running.benchmark({ runs: warmUpRuns, firstSample: 0 });
  await fresh.benchmark({ runs: warmUpRuns, firstSample: 0 });
  const runs = Math.min(runsMax, Math.max(runsMin, Math.round(blockMs / median(warm.latenciesMs))));
  const pairs = pairsForBound(alpha) + extraPairs;
  const block = async (runner: Runner, pair: number) =>
    median((await runner.benchmark({ runs, firstSample: pair * runs })).latenciesMs);
  const ratios: number[] = [];
  const olds: number[] = [];
  const news: number[] = [];
  for (let pair = 0; pair < pairs; pair++) {
    // A B, then B A: neither model is always first.
    const first = pair % 2 === 0 ? running : fresh;
    const second = pair % 2 === 0 ? fresh : running;
    const firstMs = await block(first, pair);
    const secondMs = await block(second, pair);
    const [oldMs, newMs] = pair % 2 === 0 ? [firstMs, secondMs] : [secondMs, firstMs];
    olds.push(oldMs);
    news.push(newMs);
    ratios.push(newMs / oldMs);
  }
  const spread = Math.max(...olds) / Math.min(...olds);
  const degraded =
    spread > spreadMax
      ? `the machine is too busy to judge latency: blocks of the running model differ by a factor of ${spread.toFixed(1)}`
      : undefined;
  return { ratios, newP50Ms: median(news), oldP50Ms: median(olds), degraded };
}
