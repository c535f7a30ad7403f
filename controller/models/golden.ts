/** Reads golden sets back from the files that an operator uploaded. */
import { FleetError } from "../../shared/errors.ts";
import {
  buildGoldenSet,
  type GoldenSet,
  goldenFileNames,
  goldenManifestBytesMax,
  parseGoldenManifest,
} from "../../shared/evaluation/golden-set.ts";
import type { BlobStore } from "../blobs/blob-store.ts";

/** Longest file of a golden set, in bytes; arrays are read whole. */
export const goldenFileBytesMax = 2 ** 30;

export interface GoldenFiles {
  /** Name of the manifest among `files`. */
  readonly manifest: string;
  /** Blob hash of each file by its name. */
  readonly files: Readonly<Record<string, string>>;
}

/** Errors: `golden-invalid`, `artifact-missing`, `too-large`. */
export async function readGoldenSet(
  blobs: Pick<BlobStore, "read">,
  golden: GoldenFiles,
): Promise<GoldenSet> {
  const hashOf = (name: string) => {
    const sha256 = golden.files[name];
    if (sha256 !== undefined) return sha256;
    throw new FleetError("golden-invalid", `golden set: the file ${name} was not uploaded`);
  };
  const manifestBytes = await blobs.read(hashOf(golden.manifest), {
    maxBytes: goldenManifestBytesMax,
  });
  const manifest = parseGoldenManifest(manifestBytes);
  const files = new Map<string, Uint8Array>();
  for (const name of goldenFileNames(manifest)) {
    files.set(name, await blobs.read(hashOf(name), { maxBytes: goldenFileBytesMax }));
  }
  return buildGoldenSet(manifest, files);
}
