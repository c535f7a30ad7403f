/**
 * What every rewrite of a model is: a named pass with checked options, a condition under which it has
 * nothing to do, one that the model must fulfil before it, the rewrite, and what must hold after.
 *
 * Invariants: a pass edits only the model it is given; running it a second time changes nothing;
 * whatever numbers it changes stays within the tolerance it declares, which one contract test checks
 * for all.
 */
import { z } from "zod";
import { FleetError } from "../../shared/errors.ts";
import type { Model } from "../onnx/model.ts";
import type { CalibrationOptions } from "./calibration/registry.ts";
import type { Workbench } from "./execute.ts";
import type { Range } from "./quantize/scale.ts";

/** A line of a pass's report: counts, names, ratios. */
export type ReportValue = string | number | boolean | readonly string[];
export type Report = Readonly<Record<string, ReportValue>>;

export interface PassResult {
  readonly modified: boolean;
  readonly report: Report;
}

export interface PassContext {
  /** Observed ranges of the values that `calibration` asked for, by value name. */
  readonly ranges: ReadonlyMap<string, Range>;
  /** Runs models on samples; absent when the recipe is applied without data. */
  readonly workbench?: Workbench | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Which values a pass must have observed, and how. */
export interface CalibrationNeed {
  readonly tensors: readonly string[];
  readonly options: CalibrationOptions;
}

/**
 * How far outputs may move: no more than `absolute` + `relative` · |value|, elementwise; or, for
 * rewrites that round, a signal-to-noise ratio over the whole output.
 */
export type Tolerance =
  | { readonly kind: "elementwise"; readonly absolute: number; readonly relative: number }
  | { readonly kind: "signal"; readonly decibelMin: number };

/** A pass with its options filled in. */
export interface BoundPass {
  readonly name: string;
  /** True when the pass observes activations or runs the model, for which it needs samples. */
  readonly needsSamples: boolean;
  readonly tolerance: Tolerance;
  /** True leaves the pass out where it makes no sense for the model. Default: that ends the recipe. */
  readonly optional?: boolean;
  /** Why the pass makes no sense for this model; undefined when it does. */
  readonly notApplicable: (model: Model) => string | undefined;
  /** What the model lacks for the pass to be right; undefined when it lacks nothing. */
  readonly requires: (model: Model) => string | undefined;
  readonly calibration: (model: Model) => CalibrationNeed | undefined;
  readonly run: (context: PassContext, model: Model) => PassResult | Promise<PassResult>;
  /** What the pass left broken; undefined when all is well. */
  readonly ensures: (model: Model) => string | undefined;
}

export interface Pass {
  readonly name: string;
  /** One sentence for people who choose. */
  readonly summary: string;
  readonly options: z.ZodType;
  /** Checks the options; throws `recipe-invalid`. */
  readonly bind: (options: unknown) => BoundPass;
}

export interface PassDefinition<S extends z.ZodType> {
  readonly name: string;
  readonly summary: string;
  readonly options: S;
  readonly tolerance: Tolerance;
  readonly notApplicable?: (model: Model, options: z.output<S>) => string | undefined;
  readonly requires?: (model: Model, options: z.output<S>) => string | undefined;
  readonly calibration?: (model: Model, options: z.output<S>) => CalibrationNeed | undefined;
  /** Whether `run` needs the workbench; a pass with `calibration` needs samples anyway. */
  readonly needsSamples?: boolean | ((options: z.output<S>) => boolean);
  readonly run: (
    context: PassContext,
    model: Model,
    options: z.output<S>,
  ) => PassResult | Promise<PassResult>;
  readonly ensures?: (model: Model, options: z.output<S>) => string | undefined;
}

/** Elementwise tolerance of rewrites that only reorder float32 arithmetic. */
export const reorderTolerance: Tolerance = {
  kind: "elementwise",
  absolute: 1e-5,
  relative: 1e-4,
};

/** Tolerance of rewrites that compute the same numbers. */
export const exactTolerance: Tolerance = { kind: "elementwise", absolute: 0, relative: 0 };

/** The workbench of a pass that cannot do without. Throws `calibration-failed`. */
export function requiredWorkbench({ workbench }: PassContext): Workbench {
  if (workbench !== undefined) return workbench;
  throw new FleetError(
    "calibration-failed",
    "it needs calibration data and there are none: add samples",
  );
}

/** Options of passes that have none. */
export const noOptions = z.strictObject({});

export function definePass<S extends z.ZodType>(definition: PassDefinition<S>): Pass {
  const { name, summary, tolerance } = definition;
  return {
    name,
    summary,
    options: definition.options,
    bind(input) {
      const parsed = definition.options.safeParse(input ?? {});
      if (!parsed.success) throw invalidOptions(name, parsed.error);
      const options = parsed.data;
      const { needsSamples = false } = definition;
      return {
        name,
        needsSamples:
          definition.calibration !== undefined ||
          (typeof needsSamples === "boolean" ? needsSamples : needsSamples(options)),
        tolerance,
        notApplicable: (model) => definition.notApplicable?.(model, options),
        requires: (model) => definition.requires?.(model, options),
        calibration: (model) => definition.calibration?.(model, options),
        run: (context, model) => definition.run(context, model, options),
        ensures: (model) => definition.ensures?.(model, options),
      };
    },
  };
}

/** The result of a pass that counts what it rewrote. */
export function counted(what: string, count: number, more: Report = {}): PassResult {
  return { modified: count > 0, report: { [what]: count, ...more } };
}

function invalidOptions(pass: string, cause: z.ZodError): FleetError {
  const faults = cause.issues.map(
    ({ path, message }) => `${path.join(".") || "options"}: ${message}`,
  );
  return new FleetError(
    "recipe-invalid",
    `the options of pass ${pass} are not valid (${faults.join("; ")}): correct the recipe`,
    { details: { pass, faults }, cause },
  );
}
