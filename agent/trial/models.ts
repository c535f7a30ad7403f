/**
 * The models of a trial: the candidate and, where there is one that can be compared, the committed model.
 * Their answers and their memory are found out in a child for each; their times in one child for both,
 * since two processes may sit on cores of different speed. The serving runner is not touched.
 */
import { join } from "node:path";
import {
  assetFiles,
  type Bundle,
  type BundleFile,
  modelFile,
} from "../../shared/artifact/bundle.ts";
import { FleetError } from "../../shared/errors.ts";
import { hashFile } from "../../shared/files/hash-file.ts";
import { type ModelPaths, type Runner, startRunner } from "../../shared/inference/runner.ts";
import type { AgentContext } from "../context.ts";
import { slotDir } from "../paths.ts";
import { memoryLimit } from "../serving/limits.ts";
import type { SlotName, SlotRow } from "../state/store.ts";
import { readSlotBundle } from "../update/install.ts";

/**
 * The model of a slot. Its files are held against their signed hashes first: disks rot.
 * Errors: `artifact-mismatch`.
 */
async function slotModel(
  context: AgentContext,
  { model, slot, bundle }: { model: string; slot: SlotName; bundle: Bundle },
): Promise<ModelPaths> {
  const pathOf = (file: BundleFile) => join(slotDir(context.dataDir, model, slot), file.name);
  for (const file of bundle.files) {
    if ((await hashFile(context.files, pathOf(file)))?.sha256 !== file.sha256) {
      throw new FleetError("artifact-mismatch", `${file.name} of ${model} is not what was signed`);
    }
  }
  return modelPaths(bundle, pathOf);
}

/** What a runner is started with, when the files of a bundle lie where `pathOf` says. */
export function modelPaths(bundle: Bundle, pathOf: (file: BundleFile) => string): ModelPaths {
  return {
    modelPath: pathOf(modelFile(bundle)),
    interface: bundle.interface,
    assetPaths: Object.fromEntries(assetFiles(bundle).map((file) => [file.name, pathOf(file)])),
  };
}

/**
 * A runner on the model of a slot, with memory for that of `beside` too. Errors: `artifact-mismatch` and
 * those of `startRunner`.
 */
export async function slotRunner(
  context: AgentContext,
  model: string,
  slot: SlotName,
  bundle: Bundle,
  beside?: SlotRow,
): Promise<Runner> {
  const { processes, clock, files, store } = context;
  const own = store.slot(model, slot);
  return startRunner({
    processes,
    clock,
    ...(await slotModel(context, { model, slot, bundle })),
    ...memoryLimit(files, beside === undefined ? [own] : [own, beside]),
  });
}

/**
 * The committed model, in the process of `beside` or in one of its own. Undefined without one, and when
 * its answers mean something else than those of `fresh`. Errors: those of `slotRunner`.
 */
export async function comparableModel(
  context: AgentContext,
  model: string,
  fresh: Bundle,
  beside?: Runner,
): Promise<Runner | undefined> {
  const slot = context.store.committedSlot(model);
  if (slot?.bundleSha256 == null) return undefined;
  const bundle = await readSlotBundle(context, model, slot.slot, slot.bundleSha256);
  if (meaningOf(bundle) !== meaningOf(fresh)) return undefined;
  return beside === undefined
    ? slotRunner(context, model, slot.slot, bundle)
    : beside.loadBeside(await slotModel(context, { model, slot: slot.slot, bundle }));
}

/** What the answers stand for: labels of classes, or names of tensors. */
export function meaningOf({ interface: { output } }: Bundle): string {
  return JSON.stringify(output.kind === "classification" ? output.labels : [output.tensors]);
}
