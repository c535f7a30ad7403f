/**
 * The models of a trial, each in a child of its own: the candidate and, where there is one that can be
 * compared, the committed model. The serving runner is not touched.
 */
import { join } from "node:path";
import { type Bundle, modelFile } from "../../shared/artifact/bundle.ts";
import { FleetError } from "../../shared/errors.ts";
import { hashFile } from "../../shared/files/hash-file.ts";
import { type Runner, startRunner } from "../../shared/inference/runner.ts";
import type { AgentContext } from "../context.ts";
import { slotDir } from "../paths.ts";
import { memoryLimit } from "../serving/limits.ts";
import type { SlotName } from "../state/store.ts";
import { readSlotBundle } from "../update/install.ts";
import { worldError } from "../world-error.ts";

/**
 * A runner on the model of a slot. The file is held against its signed hash first: disks rot.
 * Errors: `artifact-mismatch` and those of `startRunner`.
 */
export async function slotRunner(
  context: AgentContext,
  model: string,
  slot: SlotName,
  bundle: Bundle,
): Promise<Runner> {
  const file = modelFile(bundle);
  const modelPath = join(slotDir(context.dataDir, model, slot), file.name);
  if ((await hashFile(context.files, modelPath))?.sha256 !== file.sha256) {
    throw new FleetError("artifact-mismatch", `${file.name} of ${model} is not what was signed`);
  }
  return startRunner({
    processes: context.processes,
    clock: context.clock,
    modelPath,
    interface: bundle.interface,
    ...memoryLimit(context.files, context.store.slot(model, slot)),
  });
}

/**
 * The committed model in a child of its own. Undefined without one, when its answers mean something
 * else than those of `fresh`, and when it does not start: a damaged model must not keep its successor
 * out.
 */
export async function comparableModel(
  context: AgentContext,
  model: string,
  fresh: Bundle,
): Promise<Runner | undefined> {
  const slot = context.store.committedSlot(model);
  if (slot?.bundleSha256 == null) return undefined;
  try {
    const bundle = await readSlotBundle(context, model, slot.slot, slot.bundleSha256);
    if (meaningOf(bundle) !== meaningOf(fresh)) return undefined;
    return await slotRunner(context, model, slot.slot, bundle);
  } catch (error) {
    if (worldError(error) === undefined) throw error;
    context.log.warn("the committed model cannot be compared", { model, error: String(error) });
    return undefined;
  }
}

/** What the answers stand for: labels of classes, or names of tensors. */
export function meaningOf({ interface: { output } }: Bundle): string {
  return JSON.stringify(output.kind === "classification" ? output.labels : [output.tensors]);
}
