/**
 * Whether a manifest may be tried at all. Everything is read from the signed document, and nothing
 * is written or loaded before all of it holds.
 */
import { type Manifest, verifyManifest } from "../../shared/artifact/manifest.ts";
import { FleetError } from "../../shared/errors.ts";
import { compareVersions } from "../../shared/versions.ts";
import type { AgentContext } from "../context.ts";
import { believedNow, raiseTimeFloor } from "../time.ts";
import { agentVersion } from "../version.ts";

/**
 * The manifest, when this device may try it.
 * Errors: `signature-invalid`, `manifest-invalid`, `manifest-foreign`, `manifest-expired`,
 * `release-older`.
 */
export function admit(
  context: AgentContext,
  document: unknown,
  wanted: { purposes: readonly Manifest["purpose"][]; model?: string; onnxruntime: string },
): Manifest {
  const manifest = verifyManifest(document, context.identity.signingKeys);
  const { tenant, device } = context.identity;
  const foreign = (why: string) => new FleetError("manifest-foreign", `manifest ${why}`);
  if (manifest.tenant !== tenant || manifest.device !== device) {
    throw foreign(`is for ${manifest.tenant}/${manifest.device}`);
  }
  if (!wanted.purposes.includes(manifest.purpose)) throw foreign(`is for ${manifest.purpose}`);
  if (wanted.model !== undefined && manifest.model !== wanted.model)
    throw foreign(`is for ${manifest.model}`);
  if (compareVersions(agentVersion, manifest.agentMin) < 0) {
    throw foreign(`needs agent ${manifest.agentMin}; this is ${agentVersion}`);
  }
  const { onnxruntimeMin, onnxruntimeMaxExclusive } = manifest.runtime;
  if (
    compareVersions(wanted.onnxruntime, onnxruntimeMin) < 0 ||
    compareVersions(wanted.onnxruntime, onnxruntimeMaxExclusive) >= 0
  ) {
    throw foreign(`needs onnxruntime ${onnxruntimeMin} to ${onnxruntimeMaxExclusive}`);
  }
  const provider = manifest.executionProvider.name;
  if (!context.profile.runtime.providers.includes(provider)) {
    throw foreign(`needs the execution provider ${provider}, which is not here`);
  }
  raiseTimeFloor(context, manifest.issuedAtMs);
  const late = expired(context, manifest);
  if (late !== undefined) throw late;
  if (manifest.purpose === "release") refuseOlder(context, manifest);
  return manifest;
}

/** Undefined while the manifest is valid by the time that the device believes. */
export function expired(
  context: AgentContext,
  { expiresAtMs }: Pick<Manifest, "expiresAtMs">,
): FleetError | undefined {
  if (believedNow(context).ms <= expiresAtMs) return undefined;
  const at = new Date(expiresAtMs).toISOString();
  return new FleetError("manifest-expired", `manifest expired at ${at}`);
}

function refuseOlder(context: AgentContext, manifest: Manifest): void {
  const highest = context.store.model(manifest.model)?.releaseCounterHighest ?? 0;
  if (manifest.releaseCounter <= highest) {
    throw new FleetError(
      "release-older",
      `release counter ${manifest.releaseCounter} is not above ${highest}, which was accepted before`,
    );
  }
}
