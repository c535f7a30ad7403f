/** Latency of a variant against its source on this machine: two models in one process, in turns. */
import { takeSamples } from "../../shared/evaluation/golden-set.ts";
import { compareLatency } from "../../shared/inference/compare-latency.ts";
import { startRunner } from "../../shared/inference/runner.ts";
import type { Clock } from "../../shared/ports/clock.ts";
import type { Processes } from "../../shared/ports/processes.ts";
import type { Random } from "../../shared/ports/random.ts";
import { median } from "../../shared/statistics/median.ts";
import { localAssetPaths, type Sources } from "./sources.ts";

/** Enough that caches do not hold one sample alone; few enough that memory is not theirs. */
const samplesMax = 32;
/** Of the bound that decides how many pairs are run: about twenty, a second per variant. */
const alpha = 0.05;

export interface MeasurePorts {
  readonly processes: Processes;
  readonly clock: Clock;
  readonly random: Random;
}

export interface LocalLatency {
  readonly p50Ms: number;
  readonly sourceP50Ms: number;
  /** Median over pairs of the variant's processor time over that of the source. */
  readonly cpuRatio: number;
  /** Share of the time in which the machine worked for others: above a fifth the figures say little. */
  readonly stolenFraction: number;
}

/** Errors: those of `startRunner`. */
export async function measureLatency(
  ports: MeasurePorts,
  sources: Sources,
  variantPath: string,
): Promise<LocalLatency> {
  const { golden, interface: spec } = sources;
  const paths = { interface: spec, assetPaths: localAssetPaths(sources) };
  const source = await startRunner({ ...ports, ...paths, modelPath: sources.modelPath });
  try {
    const variant = await source.loadBeside({ ...paths, modelPath: variantPath });
    const count = Math.min(samplesMax, golden.count);
    const samples = takeSamples(
      golden,
      Array.from({ length: count }, (_, at) => at),
    );
    await source.setSamples(samples);
    await variant.setSamples(samples);
    const { random } = ports;
    const found = await compareLatency(variant, source, { alpha, random, energy: undefined });
    const ratios = found.cpuRatios.length > 0 ? found.cpuRatios : found.wallRatios;
    return {
      p50Ms: found.newP50Ms,
      sourceP50Ms: found.oldP50Ms,
      cpuRatio: median(ratios),
      stolenFraction: found.stolenFraction,
    };
  } finally {
    await source.close();
  }
}
