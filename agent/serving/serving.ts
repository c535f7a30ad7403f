/**
 * Keeps the committed model of each name answering. The old runner answers until the new one has
 * proved that it does; a runner that dies is started again with growing pauses.
 *
 * Invariant: `servedSha256` names the bundle of the runner that gets the next input.
 */

import type { Bundle } from "../../shared/artifact/bundle.ts";
import { backoffMs } from "../../shared/backoff.ts";
import { FleetError } from "../../shared/errors.ts";
import type { Answer } from "../../shared/inference/processing/answer.ts";
import type { Runner } from "../../shared/inference/runner.ts";
import type { AgentContext } from "../context.ts";
import type { SlotName } from "../state/store.ts";
import { slotRunner } from "../trial/trial.ts";
import { readSlotBundle } from "../update/install.ts";

interface Served {
  readonly runner: Runner;
  readonly bundle: Bundle;
  readonly bundleSha256: string;
}

export interface Candidate {
  /** One raw sample through the candidate, as a client would send it. */
  infer(sample: Readonly<Record<string, Uint8Array>>): Promise<Answer>;
  /** Makes the candidate the one that serves, and ends the old one. */
  promote(): Promise<void>;
  discard(): Promise<void>;
}

export interface Serving {
  /** Starts a runner for every committed model. */
  start(): Promise<void>;
  stop(): Promise<void>;
  servedSha256(model: string): string | null;
  bundle(model: string): Bundle | undefined;
  /** Errors: `model-missing`, `runner-crashed`, `runner-timeout`, `golden-mismatch`. */
  infer(model: string, sample: Readonly<Record<string, Uint8Array>>): Promise<Answer>;
  /** A runner beside the serving one, on another slot. */
  prepare(model: string, slot: SlotName, bundleSha256: string): Promise<Candidate>;
  /** Called when what is served changed. */
  onChange(handler: () => void): void;
}

const restartBackoff = { baseMs: 500, capMs: 30_000 };

export function createServing(context: AgentContext): Serving {
  const served = new Map<string, Served>();
  const changed: (() => void)[] = [];
  let stopped = false;

  const announce = () => {
    for (const handler of changed) handler();
  };
  const adopt = async (model: string, next: Served): Promise<void> => {
    const old = served.get(model);
    served.set(model, next);
    next.runner.onExit((why) => {
      if (stopped || served.get(model)?.runner !== next.runner) return;
      served.delete(model);
      context.log.error("the serving process ended", { model, error: why.message });
      announce();
      void restart(model, 0);
    });
    announce();
    await old?.runner.close();
  };
  const open = async (model: string, slot: SlotName, bundleSha256: string): Promise<Served> => {
    const bundle = await readSlotBundle(context, model, slot, bundleSha256);
    return { runner: await slotRunner(context, model, slot, bundle), bundle, bundleSha256 };
  };
  const restart = async (model: string, failures: number): Promise<void> => {
    const slot = context.store.committedSlot(model);
    if (stopped || served.has(model) || slot?.bundleSha256 == null) return;
    try {
      await adopt(model, await open(model, slot.slot, slot.bundleSha256));
    } catch (error) {
      context.log.error("the committed model does not start", { model, error: String(error) });
      await context.clock.sleep(backoffMs(restartBackoff, failures, context.random));
      await restart(model, failures + 1);
    }
  };

  return {
    async start() {
      await Promise.all(context.store.models().map(({ name }) => restart(name, 0)));
    },
    async stop() {
      stopped = true;
      await Promise.all([...served.values()].map(({ runner }) => runner.close()));
    },
    servedSha256: (model) => served.get(model)?.bundleSha256 ?? null,
    bundle: (model) => served.get(model)?.bundle,
    infer(model, sample) {
      const current = served.get(model);
      if (current === undefined) {
        return Promise.reject(
          new FleetError("model-missing", `no model named ${model} is served now`),
        );
      }
      return current.runner.infer(sample);
    },
    async prepare(model, slot, bundleSha256) {
      const next = await open(model, slot, bundleSha256);
      return {
        infer: next.runner.infer,
        promote: () => adopt(model, next),
        discard: () => next.runner.close(),
      };
    },
    onChange: (handler) => changed.push(handler),
  };
}
