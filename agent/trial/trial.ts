/**
 * The trial of a candidate on this device: it must load, compute what the controller computed, be
 * good enough, not worse than the running model on the same samples, and fit time and memory.
 *
 * Invariants: candidate and running model each live in a child of their own; the serving runner is
 * not touched; the decision needs nothing from the network.
 */
import { join } from "node:path";
import { type Bundle, modelFile } from "../../shared/artifact/bundle.ts";
import type { Manifest } from "../../shared/artifact/manifest.ts";
import { FleetError, isFleetError } from "../../shared/errors.ts";
import { alphaOf } from "../../shared/evaluation/error-budget.ts";
import {
  latencyBudgetGate,
  latencyGate,
  memoryGate,
  metricFloorGate,
  pairedMetricGate,
  parityGate,
} from "../../shared/evaluation/gates.ts";
import {
  decodeReference,
  decodeShard,
  type GoldenShard,
} from "../../shared/evaluation/golden-shard.ts";
import { hashFile } from "../../shared/files/hash-file.ts";
import { type Runner, startRunner } from "../../shared/inference/runner.ts";
import type { GateResult } from "../../shared/protocol/messages/attempt-outcome.ts";
import { median } from "../../shared/statistics/median.ts";
import type { AgentContext } from "../context.ts";
import { slotDir, storedPath } from "../paths.ts";
import type { SlotName } from "../state/store.ts";
import { readSlotBundle } from "../update/install.ts";
import { worldError } from "../world-error.ts";
import { compareLatency } from "./latency.ts";
import { type TrialVerdict, verdictOf } from "./verdict.ts";

/** Longest golden shard or reference that is read, in bytes. */
const shardBytesMax = 512_000_000;
/** Tries of the latency gate while the machine is too busy to judge. */
const latencyTries = 3;
const budgetRuns = 256;

export interface Proof {
  readonly shard: GoldenShard;
  readonly referenceTop1: readonly number[];
}

export async function readProof(
  context: AgentContext,
  manifest: Manifest,
): Promise<Proof | undefined> {
  const [golden] = manifest.golden;
  if (golden === undefined) return undefined;
  const read = (sha256: string) =>
    context.files.read(storedPath(context.dataDir, sha256), { maxBytes: shardBytesMax });
  const shard = decodeShard(await read(golden.shard.sha256));
  return { shard, referenceTop1: decodeReference(await read(golden.reference.sha256)).top1 };
}

/**
 * A runner on the model of a slot. The file is held against its signed hash first: disks rot.
 * Errors: `artifact-mismatch` and those of `startRunner`.
 */
export async function slotRunner(
  context: AgentContext,
  model: string,
  slot: SlotName,
  bundle: Bundle,
): Promise<Runner> {
  const file = modelFile(bundle);
  const modelPath = join(slotDir(context.dataDir, model, slot), file.name);
  if ((await hashFile(context.files, modelPath))?.sha256 !== file.sha256) {
    throw new FleetError("artifact-mismatch", `${file.name} of ${model} is not what was signed`);
  }
  return startRunner({
    processes: context.processes,
    clock: context.clock,
    modelPath,
    interface: bundle.interface,
  });
}

export async function runTrial(
  context: AgentContext,
  manifest: Manifest,
  slot: SlotName,
): Promise<TrialVerdict> {
  const bundle = await readSlotBundle(context, manifest.model, slot, manifest.bundle.sha256);
  let candidate: Runner | undefined;
  let running: Runner | undefined;
  const gates: GateResult[] = [];
  try {
    candidate = await slotRunner(context, manifest.model, slot, bundle);
    gates.push({ gate: "load", verdict: "pass", why: "the model loads", numbers: {} });
    const proof = await readProof(context, manifest);
    if (proof === undefined) {
      gates.push(await judgeMemory({ manifest, candidate }));
      return verdictOf(gates);
    }
    const old = await runningModel(context, manifest.model);
    running = old?.runner;
    const comparable = old !== undefined && sameLabels(old.bundle, bundle);
    await judge({ manifest, proof, candidate, running: comparable ? running : undefined, gates });
    return verdictOf(gates);
  } catch (error) {
    // A model that cannot load, crashes or hangs is worse than one that answers.
    if (!isFleetError(error)) throw error;
    gates.push({ gate: "load", verdict: "fail", why: error.message.slice(0, 500), numbers: {} });
    return verdictOf(gates);
  } finally {
    await candidate?.close();
    await running?.close();
  }
}

/**
 * The committed model in a child of its own. Undefined without one, and when it does not start: a
 * damaged model must not keep its successor out.
 */
async function runningModel(
  context: AgentContext,
  model: string,
): Promise<{ runner: Runner; bundle: Bundle } | undefined> {
  const slot = context.store.committedSlot(model);
  if (slot?.bundleSha256 == null) return undefined;
  try {
    const bundle = await readSlotBundle(context, model, slot.slot, slot.bundleSha256);
    return { runner: await slotRunner(context, model, slot.slot, bundle), bundle };
  } catch (error) {
    if (worldError(error) === undefined) throw error;
    context.log.warn("the committed model cannot be compared", { model, error: String(error) });
    return undefined;
  }
}

interface Case {
  readonly manifest: Manifest;
  readonly proof: Proof;
  readonly candidate: Runner;
  /** The model to be compared with; undefined when there is none that can be. */
  readonly running: Runner | undefined;
  readonly gates: GateResult[];
}

/** Runs the gates in order of cost and stops at the first that fails. */
async function judge(trial: Case): Promise<void> {
  const { manifest, proof, candidate, gates } = trial;
  const { alphaDevice } = manifest.gates;
  const n = proof.shard.labels.length;
  const failed = (gate: GateResult): boolean => gates.push(gate) > 0 && gate.verdict === "fail";

  await candidate.setSamples(proof.shard.inputs);
  const { top1 } = await candidate.evaluate();
  const flips = countWhere(n, (at) => top1[at] !== proof.referenceTop1[at]);
  const { parityFlipFractionMax, metricFloor } = manifest.gates;
  const parity = { flips, n, flipFractionMax: parityFlipFractionMax };
  if (failed(parityGate({ ...parity, alpha: alphaOf("parity", alphaDevice) }))) return;
  const right = (answers: Int32Array, at: number) => answers[at] === proof.shard.labels[at];
  const hits = countWhere(n, (at) => right(top1, at));
  const floor = { hits, n, floor: metricFloor, alpha: alphaOf("metric-floor", alphaDevice) };
  if (failed(metricFloorGate(floor))) return;
  if (trial.running !== undefined) {
    await trial.running.setSamples(proof.shard.inputs);
    const old = (await trial.running.evaluate()).top1;
    const worse = countWhere(n, (at) => right(old, at) && !right(top1, at));
    const better = countWhere(n, (at) => !right(old, at) && right(top1, at));
    const alpha = alphaOf("paired-metric", alphaDevice);
    if (failed(pairedMetricGate({ worse, better, n, alpha }))) return;
  }
  if (failed(await judgeLatency(trial, alphaOf("latency", alphaDevice)))) return;
  failed(await judgeMemory(trial));
}

async function judgeMemory({
  candidate,
  manifest,
}: Pick<Case, "candidate" | "manifest">): Promise<GateResult> {
  const { ramPeakBytes } = await candidate.memory();
  return memoryGate({ ramPeakBytes, ramPeakBytesMax: manifest.gates.ramPeakBytesMax });
}

async function judgeLatency(trial: Case, alpha: number): Promise<GateResult> {
  const { candidate, running, manifest } = trial;
  const { latencyMsMax, latencyRatioMax } = manifest.gates;
  if (running === undefined) {
    const { latenciesMs } = await candidate.benchmark({ runs: budgetRuns, firstSample: 0 });
    return latencyBudgetGate({ p50Ms: median(latenciesMs), p50MsMax: latencyMsMax });
  }
  let gate: GateResult | undefined;
  for (let attempt = 0; attempt < latencyTries; attempt++) {
    // A fresh share of alpha per try keeps the sum of all tries within the gate's alpha.
    const share = alpha / latencyTries;
    const { ratios, degraded } = await compareLatency(candidate, running, share);
    gate = latencyGate({ ratios, ratioMax: latencyRatioMax, alpha: share, degraded });
    if (gate.verdict !== "inconclusive") break;
  }
  return gate ?? { gate: "latency", verdict: "skipped", why: "no try was made", numbers: {} };
}

function sameLabels(old: Bundle, fresh: Bundle): boolean {
  const labels = (bundle: Bundle) =>
    bundle.interface.output.kind === "classification"
      ? bundle.interface.output.labels.join("\n")
      : undefined;
  return labels(old) !== undefined && labels(old) === labels(fresh);
}

function countWhere(n: number, holds: (at: number) => boolean): number {
  let count = 0;
  for (let at = 0; at < n; at++) if (holds(at)) count++;
  return count;
}
