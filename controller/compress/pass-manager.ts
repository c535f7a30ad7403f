/**
 * Runs passes in order and keeps a journal of what each one changed. A model that leaves a pass was
 * checked: its structure by the checker, the pass's own promise by `ensures`.
 *
 * Invariants: the model that was given is never edited; a pass works on a copy, so one that fails
 * leaves nothing behind; the journal says what ran, whether it changed anything, and how much.
 */
import { FleetError, isFleetError } from "../../shared/errors.ts";
import { checkModel } from "../onnx/checker.ts";
import type { Model } from "../onnx/model.ts";
import type { BoundPass, CalibrationNeed, PassContext, Report } from "./pass.ts";
import type { Range } from "./quantize/scale.ts";

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
}

/** Observes the wanted values of the model as it stands before the pass. */
export type Calibrate = (
  model: Model,
  need: CalibrationNeed,
) => Promise<ReadonlyMap<string, Range>>;

export interface RunPassesOptions {
  readonly model: Model;
  readonly passes: readonly BoundPass[];
  /** Needed when a pass asks for calibration. */
  readonly calibrate?: Calibrate | undefined;
  readonly onProgress?: ((progress: PassProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
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
  const total = options.passes.length;
  for (const [done, pass] of options.passes.entries()) {
    options.signal?.throwIfAborted();
    options.onProgress?.({ pass: pass.name, done, total });
    const reason = guarded(pass, () => pass.notApplicable(model));
    if (reason !== undefined) {
      return { model, journal, notApplicable: { pass: pass.name, reason } };
    }
    const lack = guarded(pass, () => pass.requires(model));
    if (lack !== undefined) throw failed(pass, `the model does not fulfil a condition: ${lack}`);
    const context = { ranges: await observedRanges(pass, model, options.calibrate) };
    const { edited, entry } = runPass(pass, model, context);
    model = edited;
    journal.push(entry);
  }
  return { model, journal };
}

function runPass(
  pass: BoundPass,
  model: Model,
  context: PassContext,
): { edited: Model; entry: JournalEntry } {
  const edited = model.clone();
  const { modified, report } = guarded(pass, () => pass.run(context, edited));
  guarded(pass, () => checkModel(edited.toProto()));
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

async function observedRanges(
  pass: BoundPass,
  model: Model,
  calibrate: Calibrate | undefined,
): Promise<ReadonlyMap<string, Range>> {
  const need = guarded(pass, () => pass.calibration(model));
  if (need === undefined || need.tensors.length === 0) return new Map();
  if (calibrate === undefined) throw failed(pass, "it needs calibration data and there are none");
  const ranges = await calibrate(model, need);
  const missing = need.tensors.find((name) => !ranges.has(name));
  if (missing !== undefined) throw failed(pass, `calibration says nothing of ${missing}`);
  return ranges;
}

/** Gives failures of the model under a pass the pass's name; our own bugs pass through. */
function guarded<T>(pass: BoundPass, action: () => T): T {
  try {
    return action();
  } catch (cause) {
    if (!isFleetError(cause) || cause.code === "pass-failed") throw cause;
    throw failed(pass, cause.message, cause);
  }
}

function failed(pass: BoundPass, why: string, cause?: unknown): FleetError {
  return new FleetError("pass-failed", `pass ${pass.name} failed: ${why}`, {
    details: { pass: pass.name },
    ...(cause === undefined ? {} : { cause }),
  });
}
