/**
 * Keeps the committed model of each name answering. The old runner answers until the new one has
 * proved that it does, and ends when its last answer is out; a runner that dies is started again with
 * growing pauses.
 *
 * Invariants: `servedSha256` names the bundle of the runner that gets the next input; only bundles that
 * passed a trial here are served: the committed one, or the one before it when the files of the
 * committed one are damaged.
 */
import type { Bundle } from "../../shared/artifact/bundle.ts";
import { backoffMs } from "../../shared/backoff.ts";
import { FleetError, isFleetError } from "../../shared/errors.ts";
import type { Answer } from "../../shared/inference/processing/answer.ts";
import type { Runner } from "../../shared/inference/runner.ts";
import type { AgentContext } from "../context.ts";
import type { SlotName, SlotRow } from "../state/store.ts";
import { slotRunner } from "../trial/models.ts";
import { readSlotBundle } from "../update/install.ts";
import { slotLimits } from "./limits.ts";

interface Served {
  readonly runner: Runner;
  readonly bundle: Bundle;
  readonly bundleSha256: string;
  /** Longest inference, beside those that wait before it; undefined without a limit of its own. */
  readonly inferTimeoutMs: number | undefined;
  /** Inputs that wait for their answer. */
  active: number;
  /** Called when the last of them has it. */
  onIdle: () => void;
}

export interface Candidate {
  /** One raw sample through the candidate, as a client would send it. */
  infer(sample: Readonly<Record<string, Uint8Array>>): Promise<Answer>;
  /** Makes the candidate the one that serves, and ends the old one. */
  promote(): Promise<void>;
  discard(): Promise<void>;
}

export interface Serving {
  /** Tries every committed model once; those that do not start are tried again behind it. */
  start(): Promise<void>;
  stop(): Promise<void>;
  servedSha256(model: string): string | null;
  bundle(model: string): Bundle | undefined;
  /** Errors: `model-missing`, `serving-busy`, `golden-mismatch`, `runner-…`. */
  infer(model: string, sample: Readonly<Record<string, Uint8Array>>): Promise<Answer>;
  /** A runner beside the serving one, on another slot. */
  prepare(model: string, slot: SlotName, bundleSha256: string): Promise<Candidate>;
  /** Called when what is served changed. */
  onChange(handler: () => void): void;
  /** Called when the process of a model ended by itself, was ended for a limit, or did not start. */
  onCrash(handler: CrashHandler): void;
}

type CrashHandler = (model: string, bundleSha256: string) => void;

const restartBackoff = { baseMs: 500, capMs: 30_000 };
/** Inputs of one model that may wait at once; the process takes them one by one. */
const activeMax = 64;
/** How long a replaced runner may go on with what it was asked, in ms. */
const drainMs = 5_000;

export function createServing(context: AgentContext): Serving {
  const served = new Map<string, Served>();
  const changed: (() => void)[] = [];
  const crashed: CrashHandler[] = [];
  const stopping = new AbortController();

  const announce = () => {
    for (const handler of changed) handler();
  };
  const adopt = async (model: string, next: Served): Promise<void> => {
    if (stopping.signal.aborted) return next.runner.close();
    const old = served.get(model);
    served.set(model, next);
    next.runner.onExit((why) => {
      if (stopping.signal.aborted || served.get(model) !== next) return;
      served.delete(model);
      for (const handler of crashed) handler(model, next.bundleSha256);
      context.log.error("the serving process ended", { model, error: why.message });
      announce();
      void restart(model);
    });
    announce();
    if (old !== undefined) await drain(context, old, stopping.signal);
  };
  /** False when it has to be tried again. */
  const startCommitted = async (model: string): Promise<boolean> => {
    // The store is closed when the agent has stopped.
    if (stopping.signal.aborted || served.has(model)) return true;
    const slot = context.store.committedSlot(model);
    if (slot?.bundleSha256 == null) return true;
    try {
      const next = await openCommitted(context, model, slot);
      // An update may have promoted its bundle meanwhile.
      if (served.has(model)) await next.runner.close();
      else await adopt(model, next);
      return true;
    } catch (error) {
      context.log.error("the committed model does not start", { model, error: String(error) });
      if (endedBadly(error)) for (const handler of crashed) handler(model, slot.bundleSha256);
      return false;
    }
  };
  const restart = async (model: string): Promise<void> => {
    for (let failures = 0; !(await startCommitted(model)); failures++) {
      const pauseMs = backoffMs(restartBackoff, failures, context.random);
      await context.clock.sleep(pauseMs, stopping.signal);
    }
  };

  return {
    async start() {
      await Promise.all(
        context.store.models().map(async ({ name }) => {
          if (!(await startCommitted(name))) void restart(name);
        }),
      );
    },
    async stop() {
      stopping.abort();
      await Promise.all([...served.values()].map(({ runner }) => runner.close()));
    },
    servedSha256: (model) => served.get(model)?.bundleSha256 ?? null,
    bundle: (model) => served.get(model)?.bundle,
    infer: (model, sample) => inferOn(model, served.get(model), sample),
    async prepare(model, slot, bundleSha256) {
      const next = await open(context, model, slot, bundleSha256);
      return {
        infer: next.runner.infer,
        promote: () => adopt(model, next),
        discard: () => next.runner.close(),
      };
    },
    onChange: (handler) => changed.push(handler),
    onCrash: (handler) => crashed.push(handler),
  };
}

async function open(
  context: AgentContext,
  model: string,
  slot: SlotName,
  bundleSha256: string,
): Promise<Served> {
  const bundle = await readSlotBundle(context, model, slot, bundleSha256);
  const runner = await slotRunner(context, model, slot, bundle);
  const { inferTimeoutMs } = slotLimits(context.store.slot(model, slot));
  return { runner, bundle, bundleSha256, inferTimeoutMs, active: 0, onIdle: () => {} };
}

/**
 * The committed bundle, or the one before it when its files are damaged. The spare slot holds a
 * predecessor only when no update is under way; then it may be an untried candidate.
 */
async function openCommitted(context: AgentContext, model: string, slot: SlotRow): Promise<Served> {
  const { store } = context;
  try {
    return await open(context, model, slot.slot, slot.bundleSha256 ?? "");
  } catch (error) {
    // A process that crashed or was late tells nothing of the files, and is tried again.
    if (endedBadly(error)) throw error;
    const spare = store.slot(model, store.spareSlot(model));
    const updating = store.openAttempts().some((attempt) => attempt.model === model);
    if (updating || spare.status !== "ready" || spare.bundleSha256 === null) throw error;
    context.log.error("the model before the committed one serves", { model, error: String(error) });
    return open(context, model, spare.slot, spare.bundleSha256);
  }
}

/** A process that was there and is no more. */
function endedBadly(error: unknown): boolean {
  return (
    isFleetError(error, "runner-crashed") ||
    isFleetError(error, "runner-timeout") ||
    isFleetError(error, "runner-memory")
  );
}

async function inferOn(
  model: string,
  current: Served | undefined,
  sample: Readonly<Record<string, Uint8Array>>,
): Promise<Answer> {
  if (current === undefined) {
    throw new FleetError("model-missing", `no model named ${model} is served now`);
  }
  if (current.active >= activeMax) {
    throw new FleetError("serving-busy", `${activeMax} inputs wait for ${model} already`);
  }
  current.active++;
  try {
    const { inferTimeoutMs } = current;
    // The process takes inputs one by one, so the last one waits for all.
    return await current.runner.infer(
      sample,
      inferTimeoutMs === undefined ? {} : { timeoutMs: inferTimeoutMs * current.active },
    );
  } finally {
    current.active--;
    if (current.active === 0) current.onIdle();
  }
}

/** Ends a replaced runner after its last answer, or after `drainMs`. */
async function drain(context: AgentContext, old: Served, signal: AbortSignal): Promise<void> {
  if (old.active > 0) {
    const idle = new Promise<void>((resolve) => {
      old.onIdle = resolve;
    });
    await Promise.race([idle, context.clock.sleep(drainMs, signal)]);
  }
  await old.runner.close();
}
