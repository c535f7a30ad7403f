/** The bundle descriptor of a variant: what a device will run, and all that made it. */
import {
  type Bundle,
  type BundleFile,
  type ModelInterface,
  modelFileName,
} from "../../shared/artifact/bundle.ts";

export interface VariantOrigin {
  readonly model: string;
  readonly version: string;
  readonly interface: ModelInterface;
  /** The files that the interface reads. */
  readonly assets: readonly Omit<BundleFile, "role">[];
  readonly sourceSha256: string;
  readonly recipe: string;
  readonly recipeSha256: string;
  /** Of the split of the golden set. */
  readonly seed: number;
  /** Version of onnxruntime, and the instruction sets that it ran with: calibration rests on both. */
  readonly runtime: string;
  readonly cpuFlags: readonly string[];
}

export function bundleOf(
  origin: VariantOrigin,
  file: { readonly sha256: string; readonly bytes: number },
): Bundle {
  const { model, version, sourceSha256, recipe, recipeSha256, seed, runtime, cpuFlags } = origin;
  return {
    schema: "fleetfit/bundle/1",
    model,
    version,
    files: [
      { role: "model", name: modelFileName, ...file },
      ...origin.assets.map((asset) => ({ ...asset, role: "asset" as const })),
    ],
    interface: origin.interface,
    thresholds: {},
    provenance: {
      sourceSha256,
      recipe,
      recipeSha256,
      seed,
      runtime,
      cpuFlags: [...cpuFlags],
    },
  };
}
