/**
 * Applies a recipe to the bytes of a model and yields the bytes of a variant, with a journal of what
 * was done. Knows no runtime and no files: whoever calls it gives the workbench.
 */
import { checkModel, nothingChecked } from "../onnx/checker.ts";
import { Model } from "../onnx/model.ts";
import type { DecodeLimits } from "../onnx/proto.ts";
import type { Workbench } from "./execute.ts";
import { type JournalEntry, type PassProgress, runPasses } from "./pass-manager.ts";
import { bindPasses, type Recipe } from "./recipe.ts";

export interface ApplyRecipeOptions {
  /** An ONNX file; must not change while the recipe runs. */
  readonly modelBytes: Uint8Array;
  readonly recipe: Recipe;
  /** Runs models on samples. Needed by recipes that say so. */
  readonly workbench?: Workbench;
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
 * that cannot do its work, `calibration-failed` for samples that do not fit, and what `signal` throws.
 */
export async function applyRecipe(options: ApplyRecipeOptions): Promise<ApplyRecipeResult> {
  const passes = bindPasses(options.recipe);
  const model = Model.decode(options.modelBytes, options.limits);
  const checked = nothingChecked();
  checkModel(model.toProto(), checked);
  const result = await runPasses({
    model,
    passes,
    workbench: options.workbench,
    onProgress: options.onProgress,
    signal: options.signal,
    checked,
  });
  const { journal, notApplicable } = result;
  if (notApplicable !== undefined) return { outcome: "not-applicable", journal, ...notApplicable };
  return { outcome: "made", bytes: result.model.encode(), journal };
}
