/**
 * Old against new in the same thermal state: pairs of blocks, in each pair the order AB or BA by a fair
 * coin; per pair one ratio of median run times and one of processor times.
 *
 * The coin makes the sign test exact whatever the machine does meanwhile: if the model makes no
 * difference, each pair is as likely to come out above 1 as below, so load widens the bound and does not
 * tilt it. That holds for two models in one process. Two processes may stay on cores of different speed for
 * the whole comparison (measured on two busy cores, 2026-11-24: one model against itself 1.35, one process on
 * each core; the same happens on processors with large and small cores). Processor time does not count while another process has the core, so a model that is twice
 * as slow is seen on a busy machine too. A block is short, so that the two of a pair see the same load.
 */

import type { Random } from "../ports/random.ts";
import { median, pairsForBound } from "../statistics/median.ts";
import { type EnergyCounter, spentBetween } from "./energy.ts";
import type { Runner } from "./runner.ts";

/** Time that one block should take, in ms. */
const blockMs = 25;
const runsMin = 8;
const runsMax = 400;
/** Pairs beyond the fewest for the level: a healthy bound may then miss some pairs. */
const extraPairs = 16;
/** An alpha that takes more pairs is meant never to fail. */
const pairsMax = 64;
/** Warm-up runs of each model before anything counts. */
const warmUpRuns = 32;

export interface LatencyComparison {
  /** Median time of the new model over that of the old one, per pair. */
  readonly wallRatios: readonly number[];
  /** Processor time likewise; empty where the system's clock is too coarse for a block. */
  readonly cpuRatios: readonly number[];
  readonly newP50Ms: number;
  readonly oldP50Ms: number;
  /** Energy likewise; empty without a counter. */
  readonly energyRatios: readonly number[];
  /** Share of the time in blocks during which the processor did not work for the model. */
  readonly stolenFraction: number;
}

interface Block {
  /** NaN without a counter. */
  readonly microjoules: number;
  readonly p50Ms: number;
  readonly cpuMs: number;
  readonly wallMs: number;
}

/** `alpha` is the level that the bound of one ratio must be able to reach. */
export async function compareLatency(
  fresh: Runner,
  running: Runner,
  {
    alpha,
    random,
    energy,
  }: {
    alpha: number;
    random: Random;
    energy: EnergyCounter | undefined;
  },
): Promise<LatencyComparison> {
  const warm = await running.benchmark({ runs: warmUpRuns, firstSample: 0 });
  await fresh.benchmark({ runs: warmUpRuns, firstSample: 0 });
  const runs = Math.min(runsMax, Math.max(runsMin, Math.round(blockMs / median(warm.latenciesMs))));
  const block = async (runner: Runner, pair: number): Promise<Block> => {
    const before = (await energy?.read()) ?? Number.NaN;
    const { latenciesMs, cpuMs } = await runner.benchmark({ runs, firstSample: pair * runs });
    const after = (await energy?.read()) ?? Number.NaN;
    return {
      p50Ms: median(latenciesMs),
      cpuMs,
      wallMs: latenciesMs.reduce((sum, each) => sum + each, 0),
      microjoules: spentBetween(before, after, energy?.rangeMicrojoules),
    };
  };
  const olds: Block[] = [];
  const news: Block[] = [];
  const pairs = Math.min(pairsMax, pairsForBound(alpha) + extraPairs);
  for (let pair = 0; pair < pairs; pair++) {
    const oldFirst = random.fraction() < 0.5;
    const first = await block(oldFirst ? running : fresh, pair);
    const second = await block(oldFirst ? fresh : running, pair);
    olds.push(oldFirst ? first : second);
    news.push(oldFirst ? second : first);
  }
  const ratios = (of: (block: Block) => number) =>
    news.map((each, pair) => of(each) / of(olds[pair]!));
  const all = [...olds, ...news];
  const sum = (of: (block: Block) => number) => all.reduce((total, each) => total + of(each), 0);
  const p50s = (blocks: readonly Block[]) => median(blocks.map(({ p50Ms }) => p50Ms));
  return {
    wallRatios: ratios(({ p50Ms }) => p50Ms),
    cpuRatios: all.every(({ cpuMs }) => cpuMs > 0) ? ratios(({ cpuMs }) => cpuMs) : [],
    energyRatios: all.every(({ microjoules }) => microjoules > 0)
      ? ratios(({ microjoules }) => microjoules)
      : [],
    newP50Ms: p50s(news),
    oldP50Ms: p50s(olds),
    stolenFraction: Math.max(0, 1 - sum(({ cpuMs }) => cpuMs) / sum(({ wallMs }) => wallMs)),
  };
}
