/** A control names what the device runs already: its slot, or the refusal when that is another model. */
import type { Manifest } from "../../shared/artifact/manifest.ts";
import { FleetError } from "../../shared/errors.ts";
import type { AgentStore, SlotName } from "../state/store.ts";

/** Errors: `control-mismatch`. */
export function controlledSlot(store: AgentStore, manifest: Manifest): SlotName {
  const committed = store.committedSlot(manifest.model);
  if (committed?.bundleSha256 === manifest.bundle.sha256) return committed.slot;
  throw new FleetError(
    "control-mismatch",
    `the control is for bundle ${manifest.bundle.sha256}, committed is ${committed?.bundleSha256 ?? "none"}`,
  );
}
