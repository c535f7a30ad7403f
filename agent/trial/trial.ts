/**
 * The trial of a candidate on this device: it must load, compute what the controller computed, be
 * good enough, not worse than the running model on the same samples, and fit time and memory.
 *
 * Invariants: both models live in children that serve nobody; the serving runner is not touched; the
 * decision needs nothing from the network; what the running model fails at is not the candidate's fault.
 */
import type { Bundle } from "../../shared/artifact/bundle.ts";
import type { Manifest } from "../../shared/artifact/manifest.ts";
import { isFleetError } from "../../shared/errors.ts";
import type { Runner } from "../../shared/inference/runner.ts";
import type { GateResult } from "../../shared/protocol/messages/attempt-outcome.ts";
import type { AgentContext } from "../context.ts";
import type { SlotName } from "../state/store.ts";
import { readSlotBundle } from "../update/install.ts";
import { worldError } from "../world-error.ts";
import { judgeGolden } from "./golden.ts";
import { comparableModel, slotRunner } from "./models.ts";
import { type Proof, readProof } from "./proof.ts";
import { type Compared, judgeMemory, judgeTime, looksMax, pauseAfter } from "./resources.ts";
import { type TrialVerdict, verdictOf } from "./verdict.ts";

export interface TrialOrder {
  readonly attempt: string;
  readonly manifest: Manifest;
  readonly slot: SlotName;
  /** Ends a pause between two looks; its reason is thrown then. */
  readonly signal: AbortSignal;
}

interface Trial extends TrialOrder {
  readonly bundle: Bundle;
  readonly proof: Proof | undefined;
  readonly gates: GateResult[];
  /** False for what returns, and once the running model crashed: it can tell nothing. */
  compares: boolean;
}

export async function runTrial(context: AgentContext, order: TrialOrder): Promise<TrialVerdict> {
  const { manifest, slot } = order;
  const bundle = await readSlotBundle(context, manifest.model, slot, manifest.bundle.sha256);
  const proof = await readProof(context, manifest);
  const { onInconclusive, parityOnlyAlpha } = manifest.gates;
  const compares = parityOnlyAlpha === null;
  const trial: Trial = { ...order, bundle, proof, gates: [], compares };
  try {
    await withModels(context, trial, "apart", (models) => judgeOnce(context, trial, models));
    if (compares && proof && verdictOf(trial.gates, onInconclusive).failed === undefined) {
      await judgeTimes(context, trial);
    }
  } catch (error) {
    // A model that cannot load, crashes or hangs is worse than one that answers.
    if (order.signal.aborted || !isFleetError(error)) throw error;
    const why = error.message.slice(0, 500);
    const gate = isFleetError(error, "runner-memory") ? "memory" : "load";
    trial.gates.push({ gate, verdict: "fail", why, numbers: { crashes: 1 } });
  }
  return verdictOf(trial.gates, onInconclusive);
}

/** The gates that one look settles. */
async function judgeOnce(context: AgentContext, trial: Trial, models: Compared): Promise<void> {
  const { manifest, bundle, proof } = trial;
  const found: GateResult[] = [
    { gate: "load", verdict: "pass", why: "the model loads", numbers: { crashes: 0 } },
  ];
  if (proof !== undefined) {
    found.push(...(await judgeGolden(context, { manifest, bundle, proof }, models)));
  }
  if (manifest.gates.parityOnlyAlpha === null && found.every(({ verdict }) => verdict !== "fail")) {
    found.push(await judgeMemory(manifest, models));
  }
  trial.gates.splice(0, Number.POSITIVE_INFINITY, ...found);
}

/** Looks at the latency until one look decides or the last was made; the models rest in between. */
async function judgeTimes(context: AgentContext, trial: Trial): Promise<void> {
  const { attempt, manifest, signal, gates } = trial;
  const before = gates.length;
  for (;;) {
    const look = context.store.beginLook(attempt);
    if (look > looksMax) break;
    await withModels(context, trial, "together", async (models) => {
      gates.splice(
        before,
        Number.POSITIVE_INFINITY,
        ...(await judgeTime(context, manifest, models)),
      );
    });
    const pauseMs = pauseAfter(look);
    const open = gates.slice(before).some(({ verdict }) => verdict === "inconclusive");
    if (!open || pauseMs === undefined) return;
    context.log.info("the latency is looked at again later", { attempt, look, pauseMs });
    await context.clock.sleep(pauseMs, signal);
    signal.throwIfAborted();
  }
  if (gates.length > before) return;
  const why = "every look at the latency was cut off";
  gates.push({ gate: "latency", verdict: "inconclusive", why, numbers: {} });
}

/**
 * Runs `work` on fresh children that hold the shard's samples: one for both models or one for each. When
 * the running model fails, it is repeated without that model: a damaged one must not keep its successor
 * out. Errors: those of the candidate.
 */
async function withModels(
  context: AgentContext,
  trial: Trial,
  where: "apart" | "together",
  work: (models: Compared) => Promise<void>,
): Promise<void> {
  const { manifest, slot, bundle, proof } = trial;
  const { model } = manifest;
  const compares = proof !== undefined && trial.compares;
  const beside = where === "together" && compares ? context.store.committedSlot(model) : undefined;
  let candidate: Runner | undefined;
  let running: Runner | undefined;
  let runningFailed = false;
  const blame = (error: unknown): never => {
    runningFailed = true;
    throw error;
  };
  try {
    candidate = await slotRunner(context, model, slot, bundle, beside);
    if (compares) {
      const shared = beside && candidate;
      running = await comparableModel(context, model, bundle, shared).catch(blame);
    }
    if (proof !== undefined) await candidate.setSamples(proof.shard.inputs);
    if (proof !== undefined) await running?.setSamples(proof.shard.inputs).catch(blame);
    return await work({ candidate, running: running && blaming(running, blame) });
  } catch (error) {
    if (!runningFailed || worldError(error) === undefined) throw error;
    context.log.warn("the committed model cannot be compared", { model, error: String(error) });
    trial.compares = false;
  } finally {
    await candidate?.close();
    await running?.close();
  }
  await withModels(context, trial, where, work);
}

/** The runner, with `blame` told of each call that fails. */
function blaming(runner: Runner, blame: (error: unknown) => never): Runner {
  return {
    ...runner,
    evaluate: (onProgress) => runner.evaluate(onProgress).catch(blame),
    benchmark: (block) => runner.benchmark(block).catch(blame),
    memory: () => runner.memory().catch(blame),
  };
}
