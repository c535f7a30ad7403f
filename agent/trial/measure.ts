/**
 * Benchmarks a bundle that will not be committed: facts for the choice of a variant. The files live in
 * the artifact store, never in a slot.
 */

import type { Manifest } from "../../shared/artifact/manifest.ts";
import { startRunner } from "../../shared/inference/runner.ts";
import type { Fact } from "../../shared/protocol/messages/measurement.ts";
import { median, medianLowerBound } from "../../shared/statistics/median.ts";
import type { AgentContext } from "../context.ts";
import { storedPath } from "../paths.ts";
import { storedBundle } from "../update/install.ts";
import { modelPaths } from "./models.ts";
import { judgeProof, parityFlips, readProof } from "./proof.ts";

const warmUpRuns = 64;
/**
 * Blocks are spread over more than a second, since something else that runs for a moment would cover them all
 * otherwise; what disturbs a block makes it slower and never faster, so the quieter half counts.
 */
const blocks = 18;
const pauseMs = 60;
const runsPerBlock = 64;
/** Two-sided 95 %. */
const intervalAlpha = 0.025;
/** Quieter blocks that differ by more than this say that the machine was too busy for a choice. */
const spreadMax = 1.5;

export async function measureBundle(
  context: AgentContext,
  manifest: Manifest,
): Promise<{ facts: Fact[]; environmentDegraded: boolean }> {
  const bundle = await storedBundle(context, manifest);
  const runner = await startRunner({
    processes: context.processes,
    clock: context.clock,
    ...modelPaths(bundle, ({ sha256 }) => storedPath(context.dataDir, sha256)),
  });
  try {
    const facts: Fact[] = [];
    const proof = await readProof(context, manifest);
    if (proof === undefined) return { facts, environmentDegraded: false };
    const n = await runner.setSamples(proof.shard.inputs);
    const judged = judgeProof(proof, await runner.evaluate());
    const { value, low, high } = proof.metric.estimate(judged);
    const flips = parityFlips(proof, judged);
    facts.push({ metric: "golden-metric", value, interval: [low, high], n });
    facts.push({ metric: "parity-flips", value: flips, interval: null, n });
    await runner.benchmark({ runs: warmUpRuns, firstSample: 0 });
    const medians: number[] = [];
    for (let block = 0; block < blocks; block++) {
      const { latenciesMs } = await runner.benchmark({
        runs: runsPerBlock,
        firstSample: block * runsPerBlock,
      });
      medians.push(median(latenciesMs));
      await context.clock.sleep(pauseMs);
    }
    const quieter = medians.sort((a, b) => a - b).slice(0, blocks / 2);
    facts.push({
      metric: "latency-p50-ms",
      value: median(quieter),
      interval: medianInterval(quieter),
      n: quieter.length * runsPerBlock,
    });
    const { ramPeakBytes, loadMs } = await runner.memory();
    facts.push({ metric: "ram-peak-bytes", value: ramPeakBytes, interval: null, n: 1 });
    facts.push({ metric: "load-ms", value: loadMs, interval: null, n: 1 });
    return { facts, environmentDegraded: Math.max(...quieter) / Math.min(...quieter) > spreadMax };
  } finally {
    await runner.close();
  }
}

function medianInterval(values: readonly number[]): [number, number] {
  const low = medianLowerBound(values, intervalAlpha);
  const high = -medianLowerBound(
    values.map((value) => -value),
    intervalAlpha,
  );
  return [low, high];
}
