/**
 * Applies a recipe to the bytes of a model and yields the bytes of a variant, with a journal of what
 * was done. Knows no runtime and no files: whoever calls it runs calibration.
 */
import { checkModel } from "../onnx/checker.ts";
import { Model } from "../onnx/model.ts";
import type { DecodeLimits } from "../onnx/proto.ts";
import type { CalibrationOptions } from "./calibration/method.ts";
import { tapModel } from "./calibration/tap-model.ts";
import { type JournalEntry, type PassProgress, runPasses } from "./pass-manager.ts";
import type { Range } from "./quantize/scale.ts";
import { bindPasses, type Recipe } from "./recipe.ts";

export interface CalibrationRequest {
  /** A model that yields `tensors` beside its own outputs. */
  readonly modelBytes: Uint8Array;
  /** float32 values to observe: outputs of the tapped model, or its inputs. */
  readonly tensors: readonly string[];
  readonly options: CalibrationOptions;
}

export interface ApplyRecipeOptions {
  /** An ONNX file; must not change while the recipe runs. */
  readonly modelBytes: Uint8Array;
  readonly recipe: Recipe;
  /** Runs the tapped model on samples, as `collectRanges` does. Needed by recipes that say so. */
  readonly calibrate?: (request: CalibrationRequest) => Promise<ReadonlyMap<string, Range>>;
  readonly onProgress?: (progress: PassProgress) => void;
  readonly signal?: AbortSignal;
  readonly limits?: DecodeLimits;
}

export type ApplyRecipeResult =
  | {
      readonly outcome: "made";
      readonly bytes: Uint8Array<ArrayBuffer>;
      readonly journal: readonly JournalEntry[];
    }
  | {
      readonly outcome: "not-applicable";
      /** The pass that has nothing to do, and why. */
      readonly pass: string;
      readonly reason: string;
      readonly journal: readonly JournalEntry[];
    };

/**
 * Throws the codes of the codec and checker for a model that is not sound, `pass-failed` for a pass
 * that cannot do its work, and what `calibrate` and `signal` throw.
 */
export async function applyRecipe(options: ApplyRecipeOptions): Promise<ApplyRecipeResult> {
  const { calibrate } = options;
  const passes = bindPasses(options.recipe);
  const model = Model.decode(options.modelBytes, options.limits);
  checkModel(model.toProto());
  const result = await runPasses({
    model,
    passes,
    calibrate:
      calibrate === undefined
        ? undefined
        : (current, need) =>
            calibrate({
              modelBytes: tapModel(current, need.tensors).encode(),
              tensors: need.tensors,
              options: need.options,
            }),
    onProgress: options.onProgress,
    signal: options.signal,
  });
  const { journal, notApplicable } = result;
  if (notApplicable !== undefined) return { outcome: "not-applicable", journal, ...notApplicable };
  return { outcome: "made", bytes: result.model.encode(), journal };
}
