/**
 * What a compression on this machine starts from, read and checked before any work: the model, the golden
 * set, the interface between them.
 */
import { basename, dirname, join } from "node:path";
import { assetNames, type ModelInterface } from "../../shared/artifact/bundle.ts";
import { sha256Hex } from "../../shared/artifact/hash.ts";
import { FleetError } from "../../shared/errors.ts";
import {
  buildGoldenSet,
  type GoldenSet,
  goldenFileNames,
  goldenManifestBytesMax,
  parseGoldenManifest,
} from "../../shared/evaluation/golden-set.ts";
import { splitPool, splitSizes } from "../../shared/evaluation/golden-split.ts";
import { tokenizerBytesMax } from "../../shared/inference/processing/tokenizer-file.ts";
import { bytesInMemory } from "../../shared/ports/byte-source.ts";
import type { Files } from "../../shared/ports/files.ts";
import type { WorkOrder } from "../jobs/worker-protocol.ts";
import { goldenFileBytesMax } from "../models/golden.ts";
import { sourceBytesMax, splitSeed } from "../models/import.ts";
import { checkedInterface } from "../models/interface.ts";

export interface LocalPaths {
  readonly modelPath: string;
  /** JSON manifest of the golden set; its files lie beside it. */
  readonly goldenPath: string;
  /** Folder of the files that the interface reads: its own. */
  readonly assetDir?: string | undefined;
}

export interface LocalAsset {
  readonly name: string;
  readonly sha256: string;
  readonly content: Uint8Array;
  readonly path: string;
}

/** Where the assets lie, by name. */
export function localAssetPaths({ assets }: Pick<Sources, "assets">): Record<string, string> {
  return Object.fromEntries(assets.map(({ name, path }) => [name, path]));
}

export interface Sources extends LocalPaths {
  readonly sha256: string;
  readonly bytes: number;
  readonly golden: GoldenSet;
  readonly goldenFiles: WorkOrder["goldenFiles"];
  readonly interface: ModelInterface;
  readonly assets: readonly LocalAsset[];
  readonly split: WorkOrder["split"];
}

/**
 * `written` is the interface that the operator wrote; one is made from model and set without it.
 * Errors: `file-unusable`, `too-large`, those of the codec and checker, `golden-invalid`, `golden-mismatch`,
 * `tokenizer-invalid`.
 */
export async function readSources(
  files: Files,
  paths: LocalPaths,
  written: ModelInterface | undefined,
): Promise<Sources> {
  const source = await read(files, paths.modelPath, sourceBytesMax);
  const manifestBytes = await read(files, paths.goldenPath, goldenManifestBytesMax);
  const manifest = parseGoldenManifest(manifestBytes);
  const folder = dirname(paths.goldenPath);
  const contents = new Map<string, Uint8Array>();
  for (const name of goldenFileNames(manifest)) {
    contents.set(name, await read(files, join(folder, name), goldenFileBytesMax));
  }
  const golden = buildGoldenSet(manifest, contents);
  const assets = await readAssets(files, written, paths.assetDir ?? folder);
  const split = { seed: splitSeed, sizes: splitSizes(golden) };
  splitPool(golden, split.seed, split.sizes);
  return {
    ...paths,
    sha256: sha256Hex(source),
    bytes: source.byteLength,
    golden,
    goldenFiles: Object.fromEntries(
      [basename(paths.goldenPath), ...contents.keys()].map((name) => [name, join(folder, name)]),
    ),
    interface: checkedInterface(
      source,
      golden,
      written,
      Object.fromEntries(assets.map(({ name, content }) => [name, bytesInMemory(content)])),
    ),
    assets,
    split,
  };
}

async function readAssets(
  files: Files,
  written: ModelInterface | undefined,
  folder: string,
): Promise<LocalAsset[]> {
  const assets: LocalAsset[] = [];
  for (const name of assetNames(written ?? { inputs: [] })) {
    const path = join(folder, name);
    const content = await read(files, path, tokenizerBytesMax);
    assets.push({ name, sha256: sha256Hex(content), content, path });
  }
  return assets;
}

async function read(files: Files, path: string, maxBytes: number): Promise<Uint8Array> {
  if ((await files.stat(path)) === undefined) {
    throw new FleetError("file-unusable", `there is no ${path}`);
  }
  return files.read(path, { maxBytes });
}
