/**
 * What a compression on this machine has finished, kept so that a second run of the same goes on where the
 * first one stopped: `<out>/<recipe>/` holds model.onnx, bundle.json, what the interface reads, result.json.
 *
 * Invariants: result.json is written last and names the hash of the model file, so a folder that a power cut
 * left half written counts as nothing; a result is used again only when all that it rests on is the same.
 */
import { join } from "node:path";
import { z } from "zod";
import { evaluationSchema } from "../../shared/api/evaluation.ts";
import { bundleFileName, encodeBundle, modelFileName } from "../../shared/artifact/bundle.ts";
import { canonicalJson } from "../../shared/artifact/canonical-json.ts";
import { sha256Hex, sha256Schema } from "../../shared/artifact/hash.ts";
import { writeFileAtomic } from "../../shared/files/atomic-file.ts";
import type { Files } from "../../shared/ports/files.ts";
import { keptShapesSchema } from "../compress/cost/kept-shapes.ts";
import { type Recipe, recipeHash } from "../compress/recipe.ts";
import type { ForetellBound } from "../jobs/foretell-bound.ts";
import { evaluationOf, type WorkResult } from "../jobs/worker-protocol.ts";
import { bundleOf } from "../models/bundle-of.ts";
import type { Sources } from "./sources.ts";

const resultBytesMax = 20_000_000;

export interface Machine {
  /** Version of onnxruntime. */
  readonly runtime: string;
  readonly cpuFlags: readonly string[];
}

const scoreSchema = evaluationSchema.shape.selection;

const keptSchema = z.discriminatedUnion("status", [
  z.object({
    key: sha256Schema,
    status: z.literal("ready"),
    recipe: z.string(),
    modelSha256: sha256Schema,
    modelBytes: z.int(),
    opset: z.int(),
    evaluation: evaluationSchema,
    /** Null also in folders of older versions. */
    shapes: keptShapesSchema.nullable().default(null),
    sourceSelection: scoreSchema,
  }),
  z.object({
    key: sha256Schema,
    status: z.enum(["not-applicable", "failed"]),
    recipe: z.string(),
    reason: z.string(),
  }),
]);
export type Kept = z.infer<typeof keptSchema>;

export interface Keeper {
  readonly find: (recipe: Recipe) => Promise<Kept | undefined>;
  readonly keep: (recipe: Recipe, result: WorkResult) => Promise<Kept>;
  readonly modelPath: (recipe: string) => string;
}

/** What results rest on beside their recipe. */
export interface Grounds {
  readonly sources: Sources;
  readonly machine: Machine;
  readonly foretellBound: ForetellBound;
}

export function keeper(files: Files, outDir: string, grounds: Grounds): Keeper {
  const { sources, machine, foretellBound } = grounds;
  const pathOf = (recipe: string, name: string) => join(outDir, recipe, name);
  const keyOf = (recipe: Recipe) =>
    sha256Hex(
      canonicalJson({
        source: sources.sha256,
        pool: sources.golden.poolSha256,
        split: sources.split,
        interface: sources.interface,
        // Results of models without such files stay what they were before there were any.
        ...(sources.assets.length > 0 && { assets: sources.assets.map(({ sha256 }) => sha256) }),
        recipe: recipeHash(recipe),
        runtime: machine.runtime,
        cpuFlags: [...machine.cpuFlags],
        foretellBound,
      }),
    );
  const modelPath = (recipe: string) => pathOf(recipe, modelFileName);
  return {
    modelPath,
    async find(recipe) {
      const kept = await readKept(files, pathOf(recipe.name, "result.json"));
      if (kept === undefined || kept.status === "failed" || kept.key !== keyOf(recipe))
        return undefined;
      if (kept.status !== "ready") return kept;
      const isWhole =
        (await hashOf(files, modelPath(recipe.name), kept.modelBytes)) === kept.modelSha256;
      return isWhole ? kept : undefined;
    },
    async keep(recipe, result) {
      const key = keyOf(recipe);
      const kept: Kept =
        result.status === "ready"
          ? {
              key,
              status: "ready",
              recipe: recipe.name,
              modelSha256: sha256Hex(result.modelBytes),
              modelBytes: result.modelBytes.byteLength,
              opset: result.opset,
              evaluation: evaluationOf(result),
              shapes: result.shapes,
              sourceSelection: result.sourceSelection,
            }
          : { key, status: result.status, recipe: recipe.name, reason: result.reason };
      if (kept.status === "ready" && result.status === "ready") {
        await writeFileAtomic(files, modelPath(recipe.name), result.modelBytes);
        const bundle = encodeBundle(
          bundleOf(originOf(sources, machine, recipe), {
            sha256: kept.modelSha256,
            bytes: kept.modelBytes,
          }),
        );
        await writeFileAtomic(files, pathOf(recipe.name, bundleFileName), bundle.bytes);
        for (const { name, content } of sources.assets) {
          await writeFileAtomic(files, pathOf(recipe.name, name), content);
        }
      }
      const json = new TextEncoder().encode(JSON.stringify(kept, null, 2));
      await writeFileAtomic(files, pathOf(recipe.name, "result.json"), json);
      return kept;
    },
  };
}

/** A file by itself has no name in a fleet: it gets that of its content. */
function originOf(sources: Sources, { runtime, cpuFlags }: Machine, recipe: Recipe) {
  return {
    model: "model",
    version: sources.sha256.slice(0, 12),
    interface: sources.interface,
    assets: sources.assets.map(({ name, sha256, content }) => ({
      name,
      sha256,
      bytes: content.byteLength,
    })),
    sourceSha256: sources.sha256,
    recipe: recipe.name,
    recipeSha256: recipeHash(recipe),
    seed: sources.split.seed,
    runtime,
    cpuFlags,
  };
}

/** Undefined for what is not there and for what another version wrote. */
async function readKept(files: Files, path: string): Promise<Kept | undefined> {
  if ((await files.stat(path)) === undefined) return undefined;
  const bytes = await files.read(path, { maxBytes: resultBytesMax });
  try {
    return keptSchema.parse(JSON.parse(new TextDecoder().decode(bytes)));
  } catch {
    return undefined;
  }
}

async function hashOf(files: Files, path: string, bytes: number): Promise<string | undefined> {
  const facts = await files.stat(path);
  if (facts?.bytes !== bytes) return undefined;
  return sha256Hex(await files.read(path, { maxBytes: bytes }));
}
