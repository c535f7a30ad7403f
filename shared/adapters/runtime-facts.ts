/**
 * Version and providers of the installed onnxruntime, read without loading its native library: the
 * parent processes never load it.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { z } from "zod";

const packageSchema = z.object({ version: z.string() });

export function onnxruntimeVersion(): string {
  const entry = createRequire(import.meta.url).resolve("onnxruntime-node");
  const path = join(dirname(dirname(entry)), "package.json");
  return packageSchema.parse(JSON.parse(readFileSync(path, "utf8"))).version;
}

/** The npm package carries the CPU provider for every platform; others need extra libraries. */
export function executionProviders(): readonly string[] {
  return ["cpu"];
}
