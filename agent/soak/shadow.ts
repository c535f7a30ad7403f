/**
 * The model before, answering a share of the live inputs in a process of its own.
 *
 * Invariants: the serving path never waits for it: an input that comes while it is busy, over its share
 * of processor time or on a hot device is left out; which inputs are taken is drawn from a seed and
 * never from what they are.
 */
import { sha256Hex } from "../../shared/artifact/hash.ts";
import { isFleetError } from "../../shared/errors.ts";
import type { Answer } from "../../shared/inference/processing/answer.ts";
import type { Runner } from "../../shared/inference/runner.ts";
import { seededRandom } from "../../shared/prng.ts";
import type { AgentContext } from "../context.ts";
import { thermalZones } from "../probe/probe.ts";
import { meaningOf, slotRunner } from "../trial/models.ts";
import { readSlotBundle } from "../update/install.ts";
import { worldError } from "../world-error.ts";
import type { SoakFacts } from "./soak-state.ts";

export type Sample = Readonly<Record<string, Uint8Array>>;
export type Classification = Extract<Answer, { kind: "classification" }>;

export interface Comparison {
  readonly sample: Sample;
  readonly fresh: Classification;
  readonly running: Classification;
}

export interface Shadow {
  /** An input that was answered. Returns at once. */
  offer(sample: Sample, fresh: Answer): void;
  stop(): Promise<void>;
}

/** The temperature is read again after this, in ms. */
const heatEveryMs = 30_000;
/** A shadow that failed this often is given up: without it the soak still watches for crashes. */
const failuresMax = 3;

export function createShadow(
  context: AgentContext,
  facts: SoakFacts,
  onCompared: (comparison: Comparison) => void,
): Shadow {
  const { spec, previous } = facts;
  const random = seededRandom(seedOf(`${facts.attempt}/${context.boot}`));
  const budget = cpuBudget(context, spec.cpuFractionMax);
  const isHot = heatWatch(context, spec.celsiusMax);
  let runner: Promise<Runner | undefined> | undefined;
  let busy = false;
  let failures = 0;
  let stopped = false;

  const open = async (): Promise<Runner | undefined> => {
    if (previous === null) return undefined;
    const { model, slot, bundleSha256 } = facts;
    const old = await readSlotBundle(context, model, previous.slot, previous.bundleSha256);
    const fresh = await readSlotBundle(context, model, slot, bundleSha256);
    // Answers of models with other labels cannot be compared.
    if (meaningOf(old) !== meaningOf(fresh)) return undefined;
    return slotRunner(context, model, previous.slot, old);
  };
  const compare = async (sample: Sample, fresh: Classification): Promise<void> => {
    if (await isHot()) return;
    const startedMs = context.clock.monotonicMs();
    try {
      runner ??= open();
      const answer = await (await runner)?.infer(sample, { timeoutMs: spec.inferTimeoutMs });
      if (stopped || answer?.kind !== "classification" || answer.index < 0) return;
      onCompared({ sample, fresh, running: answer });
    } catch (error) {
      if (worldError(error) === undefined) throw error;
      // A sample that the old model does not take is nobody's fault.
      if (isFleetError(error, "golden-mismatch")) return;
      failures++;
      runner = undefined;
      context.log.warn("the shadow failed", { model: facts.model, error: String(error) });
    } finally {
      budget.spend(context.clock.monotonicMs() - startedMs);
    }
  };
  return {
    offer(sample, fresh) {
      if (previous === null || fresh.kind !== "classification") return;
      if (random.nextFloat() >= spec.shadowFraction) return;
      if (busy || stopped || failures >= failuresMax || !budget.allows()) return;
      busy = true;
      void compare(sample, fresh).finally(() => {
        busy = false;
      });
    },
    async stop() {
      stopped = true;
      await (await runner?.catch(() => undefined))?.close();
    },
  };
}

function seedOf(text: string): number {
  return Number.parseInt(sha256Hex(new TextEncoder().encode(text)).slice(0, 8), 16);
}

/** Wall time of the shadow's calls, which is no less than its time on a processor. */
function cpuBudget({ clock }: AgentContext, fractionMax: number) {
  const startedMs = clock.monotonicMs();
  let spentMs = 0;
  return {
    allows: () => spentMs <= fractionMax * (clock.monotonicMs() - startedMs),
    spend(ms: number): void {
      spentMs += ms;
    },
  };
}

function heatWatch({ files, clock }: AgentContext, celsiusMax: number | null) {
  let hot = false;
  let readAtMs = Number.NEGATIVE_INFINITY;
  return async (): Promise<boolean> => {
    if (celsiusMax === null) return false;
    if (clock.monotonicMs() - readAtMs >= heatEveryMs) {
      readAtMs = clock.monotonicMs();
      const zones = await thermalZones(files);
      hot = zones.some(({ celsius }) => celsius > celsiusMax);
    }
    return hot;
  };
}
