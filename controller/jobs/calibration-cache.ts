/**
 * Calibration tables in a folder, one file each, named by their key. Recipes of one job share most of
 * them, and so do later jobs over the same version and golden set.
 *
 * Invariants: a file is whole or not there; the folder holds at most `tablesMax` of them.
 */
import { join } from "node:path";
import type { ModelInterface } from "../../shared/artifact/bundle.ts";
import { canonicalJson } from "../../shared/artifact/canonical-json.ts";
import { sha256Hex } from "../../shared/artifact/hash.ts";
import type { GoldenSet } from "../../shared/evaluation/golden-set.ts";
import { writeFileAtomic } from "../../shared/files/atomic-file.ts";
import type { Assets } from "../../shared/inference/processing/registry.ts";
import { readAll } from "../../shared/ports/byte-source.ts";
import type { Files } from "../../shared/ports/files.ts";
import type { CalibrationCache } from "../compress/calibration/cache.ts";

/** A table of 60 tensors with histograms takes about 0.5 MB. */
const tablesMax = 256;
const tableBytesMax = 256 * 2 ** 20;

/** What a table depends on beside the model and what is asked of it. */
export interface CalibrationInputs {
  readonly set: Pick<GoldenSet, "poolSha256">;
  /** Places of the calibration samples in the pool. */
  readonly indices: Uint32Array;
  readonly interface: ModelInterface;
  /** Files that the interface reads. */
  readonly assets: Assets;
  /** onnxruntime's version. */
  readonly runtime: string;
}

export function calibrationCache(
  files: Files,
  folder: string,
  inputs: CalibrationInputs,
): CalibrationCache {
  const pathOf = (key: string): string => join(folder, `${key}.cbor`);
  return {
    identity: identityOf(inputs),
    async read(key) {
      const facts = await files.stat(pathOf(key));
      if (facts === undefined || facts.bytes > tableBytesMax) return undefined;
      return files.read(pathOf(key), { maxBytes: tableBytesMax });
    },
    async write(key, table) {
      if (table.byteLength > tableBytesMax) return;
      await writeFileAtomic(files, pathOf(key), table);
      // Names are hashes, so the first in order are as good as any.
      const names = await files.list(folder);
      const surplus = names.filter((name) => name !== `${key}.cbor`).slice(0, -(tablesMax - 1));
      for (const name of surplus) await files.remove(join(folder, name));
    },
  };
}

function identityOf(inputs: CalibrationInputs): string {
  const { set, indices, interface: spec, assets, runtime } = inputs;
  const files = Object.entries(assets).map(([name, file]) => [name, sha256Hex(readAll(file))]);
  return sha256Hex(
    canonicalJson({
      pool: set.poolSha256,
      samples: sha256Hex(new Uint8Array(indices.buffer, indices.byteOffset, indices.byteLength)),
      inputs: spec.inputs,
      // Models without such files keep the tables that were made before there were any.
      ...(files.length > 0 && { assets: Object.fromEntries(files) }),
      runtime,
    }),
  );
}
