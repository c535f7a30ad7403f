/**
 * Time, energy and memory of a candidate against the committed model on this device. A look at the
 * latency that a busy or slowed machine spoils is made again later, a bounded number of times.
 *
 * Invariant: every look is counted before it begins, over restarts too, and each has its part of the
 * gate's alpha, so all of them together stay within it.
 */
import type { Manifest } from "../../shared/artifact/manifest.ts";
import { alphaOf } from "../../shared/evaluation/error-budget.ts";
import {
  energyGate,
  latencyBudgetGate,
  latencyGate,
  memoryGate,
} from "../../shared/evaluation/resource-gates.ts";
import { compareLatency } from "../../shared/inference/compare-latency.ts";
import { findEnergyCounter } from "../../shared/inference/energy.ts";
import type { Runner } from "../../shared/inference/runner.ts";
import type { GateResult } from "../../shared/protocol/messages/attempt-outcome.ts";
import { median } from "../../shared/statistics/median.ts";
import type { AgentContext } from "../context.ts";
import { lowBattery, readMachine, unfitBetween } from "./environment.ts";

/** Pauses before the second, third and fourth look. */
const pausesMs = [5_000, 60_000, 300_000] as const;
export const looksMax = pausesMs.length + 1;
const budgetRuns = 256;

/** How long to wait after look number `look`; undefined when it was the last. */
export function pauseAfter(look: number): number | undefined {
  return pausesMs[look - 1];
}

export interface Compared {
  readonly candidate: Runner;
  readonly running: Runner | undefined;
}

/** Latency, and energy where the controller reads it. */
export async function judgeTime(
  context: AgentContext,
  { gates: limits }: Manifest,
  { candidate, running }: Compared,
): Promise<GateResult[]> {
  if (running === undefined) {
    const { latenciesMs } = await candidate.benchmark({ runs: budgetRuns, firstSample: 0 });
    return [latencyBudgetGate({ p50Ms: median(latenciesMs), p50MsMax: limits.latencyMsMax })];
  }
  const { files, profile, random } = context;
  const [alpha, energyAlpha] = (["latency", "energy"] as const).map(
    (gate) => alphaOf(gate, limits.alphaDevice) / looksMax,
  ) as [number, number];
  const energy = limits.vocabulary >= 2 ? await findEnergyCounter(files) : undefined;
  const before = await readMachine(files, profile.cores);
  const found = await compareLatency(candidate, running, { alpha: alpha / 2, random, energy });
  const after = await readMachine(files, profile.cores);
  const { loadPerCore } = before;
  const unfit = lowBattery(await context.readPower()) ?? unfitBetween(before, after);
  const { stolenFraction } = found;
  const latency = latencyGate({
    ...found,
    ratioMax: limits.latencyRatioMax,
    alpha,
    environment: { loadPerCore, stolenFraction, unfit },
  });
  if (limits.vocabulary < 2) return [latency];
  const { energyRatios: ratios } = found;
  const rule = { ratioMax: limits.energyRatioMax, alpha: energyAlpha };
  return [latency, energyGate({ source: energy?.source, ratios, ...rule })];
}

export async function judgeMemory(
  { gates: limits }: Manifest,
  { candidate, running }: Compared,
): Promise<GateResult> {
  const { ramPeakBytes } = await candidate.memory();
  const old = await running?.memory();
  return memoryGate({
    ramPeakBytes,
    ramPeakBytesMax: limits.ramPeakBytesMax,
    oldRamPeakBytes: old?.ramPeakBytes,
  });
}
