/** What the golden shard says of a candidate: parity, floors, and the pair with the committed model. */
import type { Bundle } from "../../shared/artifact/bundle.ts";
import type { Manifest } from "../../shared/artifact/manifest.ts";
import { alphaOf } from "../../shared/evaluation/error-budget.ts";
import { metricFloorGate, pairedMetricGate, parityGate } from "../../shared/evaluation/gates.ts";
import { flipsOf, type Judged } from "../../shared/evaluation/metrics/metric.ts";
import { seededRandom } from "../../shared/prng.ts";
import type { GateResult } from "../../shared/protocol/messages/attempt-outcome.ts";
import type { AgentContext } from "../context.ts";
import { judgeProof, type Proof, parityFlips } from "./proof.ts";
import type { Compared } from "./resources.ts";

export interface GoldenCase {
  readonly manifest: Manifest;
  readonly bundle: Bundle;
  readonly proof: Proof;
}

/** Runs the gates in order of cost and stops behind the first that fails. */
export async function judgeGolden(
  context: AgentContext,
  golden: GoldenCase,
  { candidate, running }: Compared,
): Promise<GateResult[]> {
  const { manifest, proof } = golden;
  const { alphaDevice, parityFlipFractionMax, parityOnlyAlpha } = manifest.gates;
  const judged = judgeProof(proof, await candidate.evaluate());
  const n = judged.losses.length;
  const parity = parityGate({
    flips: parityFlips(proof, judged),
    n,
    flipFractionMax: parityFlipFractionMax,
    alpha: parityOnlyAlpha ?? alphaOf("parity", alphaDevice),
  });
  if (parity.verdict === "fail" || parityOnlyAlpha !== null) return [parity];
  const floor = floorGate(golden, judged);
  if (floor.verdict === "fail" || running === undefined) return [parity, floor];
  const old = judgeProof(proof, await running.evaluate());
  return [parity, floor, pairGate(context, golden, { fresh: judged, old })];
}

function floorGate({ manifest, bundle, proof }: GoldenCase, judged: Judged): GateResult {
  const { gates } = manifest;
  const { output } = bundle.interface;
  return metricFloorGate({
    metric: proof.metric,
    judged,
    classNames: output.kind === "classification" ? output.labels : [],
    slices: proof.shard.regions,
    floors: { metric: gates.metricFloor, class: gates.classFloor, slice: gates.sliceFloor },
    alpha: alphaOf("metric-floor", gates.alphaDevice),
  });
}

function pairGate(
  { store }: AgentContext,
  { manifest, proof }: GoldenCase,
  pair: { fresh: Judged; old: Judged },
): GateResult {
  const { alphaDevice, nonInferiorityMargin } = manifest.gates;
  const looks = store.addPairedLook({
    freshSha256: manifest.bundle.sha256,
    oldSha256: store.committedSlot(manifest.model)?.bundleSha256 ?? "",
    shardSha256: proof.shardSha256,
    ...flipsOf(pair),
  });
  return pairedMetricGate({
    metric: proof.metric,
    pair,
    looks,
    alphaFirst: alphaOf("paired-metric", alphaDevice),
    alphaRepeated: alphaOf("paired-repeated", alphaDevice),
    margin: nonInferiorityMargin,
    // The same trial draws the same, so running it again is no second chance.
    random: seededRandom(Number.parseInt(proof.shardSha256.slice(0, 8), 16)),
  });
}
