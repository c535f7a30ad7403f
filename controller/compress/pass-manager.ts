/**
 * Runs passes in order and keeps a journal of what each one changed. A model that leaves a pass was
 * checked: its structure by the checker, the pass's own promise by `ensures`.
 *
 * Invariants: the model that was given is never edited; a pass works on a copy, so one that fails
 * leaves nothing behind; the journal says what ran, whether it changed anything, and how much.
 */
import { FleetError, isFleetError } from "../../shared/errors.ts";
import { type CheckedMessages, checkModel, nothingChecked } from "../onnx/checker.ts";
import type { Model } from "../onnx/model.ts";
import { bestCandidate, scoreWords } from "./calibration/choose.ts";
import { collectStatistics } from "./calibration/collect.ts";
import {
  calibrationCandidates,
  methodLabel,
  needsHistogram,
  rangesBy,
} from "./calibration/registry.ts";
import { scoreCandidates } from "./calibration/score.ts";
import type { Workbench } from "./execute.ts";
import type { BoundPass, PassContext, PassResult, Report } from "./pass.ts";

export interface JournalEntry {
  readonly pass: string;
  readonly modified: boolean;
  readonly nodesBefore: number;
  readonly nodesAfter: number;
  readonly report: Report;
}

export interface PassProgress {
  readonly pass: string;
  /** Passes that are done, of `total`. */
  readonly done: number;
  readonly total: number;
  /** Calibration samples that the pass has observed; absent until it observes. */
  readonly samples?: number;
}

/** Observed samples between two reports of progress. */
const progressSamples = 64;

export interface RunPassesOptions {
  readonly model: Model;
  readonly passes: readonly BoundPass[];
  /** Needed when a pass needs samples. */
  readonly workbench?: Workbench | undefined;
  readonly onProgress?: ((progress: PassProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** What the caller has checked of the model. */
  readonly checked?: CheckedMessages;
}

export interface RunPassesResult {
  readonly model: Model;
  readonly journal: readonly JournalEntry[];
  /** Set when a pass makes no sense for the model; `model` is then what came before that pass. */
  readonly notApplicable?: { readonly pass: string; readonly reason: string };
}

/** Throws `pass-failed`, naming the pass; what calibration or `signal` throws goes through. */
export async function runPasses(options: RunPassesOptions): Promise<RunPassesResult> {
  let model = options.model;
  const journal: JournalEntry[] = [];
  const { checked = nothingChecked() } = options;
  const total = options.passes.length;
  for (const [done, pass] of options.passes.entries()) {
    options.signal?.throwIfAborted();
    const progress = { pass: pass.name, done, total };
    options.onProgress?.(progress);
    const reason = guarded(pass, () => pass.notApplicable(model));
    if (reason !== undefined) {
      if (pass.optional !== true) {
        return { model, journal, notApplicable: { pass: pass.name, reason } };
      }
      journal.push(leftOut(pass, model, reason));
      continue;
    }
    const lack = guarded(pass, () => pass.requires(model));
    if (lack !== undefined) throw failed(pass, `the model does not fulfil a condition: ${lack}`);
    const { edited, entry } = await runWithRanges(pass, model, {
      ...options,
      checked,
      onSample(samples) {
        if (samples % progressSamples === 0) options.onProgress?.({ ...progress, samples });
      },
    });
    model = edited;
    journal.push(entry);
  }
  return { model, journal };
}

function leftOut(pass: BoundPass, model: Model, reason: string): JournalEntry {
  const nodes = model.graph.nodes.length;
  const counts = { nodesBefore: nodes, nodesAfter: nodes };
  return { pass: pass.name, modified: false, ...counts, report: { leftOut: reason } };
}

interface Edited {
  readonly edited: Model;
  readonly entry: JournalEntry;
}

/**
 * Runs a pass with the ranges that it asked for. Where several calibration methods are to be tried, the
 * pass runs once with the ranges of each, and what does best on held-out samples is kept.
 */
async function runWithRanges(
  pass: BoundPass,
  model: Model,
  {
    workbench,
    signal,
    checked,
    onSample,
  }: Pick<RunPassesOptions, "workbench" | "signal"> & {
    checked: CheckedMessages;
    onSample: (samples: number) => void;
  },
): Promise<Edited> {
  const need = guarded(pass, () => pass.calibration(model));
  if (need === undefined || need.tensors.length === 0) {
    return runPass(pass, model, { ranges: new Map(), workbench, signal }, checked);
  }
  if (workbench === undefined) throw failed(pass, "it needs calibration data and there are none");
  const methods = calibrationCandidates(need.options);
  const collected = await collectStatistics({
    workbench,
    model,
    tensors: need.tensors,
    needsHistograms: methods.some(needsHistogram),
    signal,
    onSample,
  });
  const trials: (Edited & { label: string })[] = [];
  for (const method of methods) {
    const ranges = rangesBy(method, collected.extremes, collected.histograms);
    const result = await runPass(pass, model, { ranges, workbench, signal }, checked);
    trials.push({ ...result, label: methodLabel(method) });
  }
  if (trials.length === 1) return reported(trials[0]!, { calibration: trials[0]!.label });
  return bestTrial(trials, model, workbench, signal);
}

async function bestTrial(
  trials: readonly (Edited & { label: string })[],
  model: Model,
  workbench: Workbench,
  signal: AbortSignal | undefined,
): Promise<Edited> {
  const candidates = trials.map(({ label, edited }) => ({ label, model: edited }));
  const scores = await scoreCandidates(workbench, model, candidates, signal);
  const best = trials[bestCandidate(scores)]!;
  return reported(best, {
    calibration: best.label,
    calibrationScores: scores.map(scoreWords),
    calibrationScoredOn:
      workbench.heldOut === undefined ? "calibration samples" : "held-out samples",
  });
}

function reported({ edited, entry }: Edited, more: Report): Edited {
  return { edited, entry: { ...entry, report: { ...entry.report, ...more } } };
}

async function runPass(
  pass: BoundPass,
  model: Model,
  context: PassContext,
  checked: CheckedMessages,
): Promise<Edited> {
  const edited = model.clone();
  const { modified, report } = await guardedRun(pass, context, edited);
  guarded(pass, () => checkModel(edited.toProto(), checked));
  const broken = guarded(pass, () => pass.ensures(edited));
  if (broken !== undefined) throw failed(pass, `it did not do what it promises: ${broken}`);
  const entry = {
    pass: pass.name,
    modified,
    nodesBefore: model.graph.nodes.length,
    nodesAfter: edited.graph.nodes.length,
    report,
  };
  return { edited, entry };
}

/** Gives failures of the model under a pass the pass's name; our own bugs pass through. */
function guarded<T>(pass: BoundPass, action: () => T): T {
  try {
    return action();
  } catch (cause) {
    throw named(pass, cause);
  }
}

async function guardedRun(
  pass: BoundPass,
  context: PassContext,
  model: Model,
): Promise<PassResult> {
  try {
    return await pass.run(context, model);
  } catch (cause) {
    throw named(pass, cause);
  }
}

/** What calibration says of the data goes through, as what a bug throws does. */
function named(pass: BoundPass, cause: unknown): unknown {
  const isOurs = isFleetError(cause) && !["pass-failed", "calibration-failed"].includes(cause.code);
  return isOurs ? failed(pass, cause.message, cause) : cause;
}

function failed(pass: BoundPass, why: string, cause?: unknown): FleetError {
  return new FleetError("pass-failed", `pass ${pass.name} failed: ${why}`, {
    details: { pass: pass.name },
    ...(cause === undefined ? {} : { cause }),
  });
}
