/** Brings everything that a manifest names into the artifact store, and clears what nobody names. */
import { join } from "node:path";
import { type Bundle, modelFile } from "../../shared/artifact/bundle.ts";
import { costOrderSchema } from "../../shared/artifact/cost-order.ts";
import { type Manifest, manifestSchema } from "../../shared/artifact/manifest.ts";
import { FleetError } from "../../shared/errors.ts";
import { copyFileAtomic } from "../../shared/files/copy-file.ts";
import { makeFolderDurable } from "../../shared/files/durable-folder.ts";
import { hashFile } from "../../shared/files/hash-file.ts";
import type { AgentContext } from "../context.ts";
import { slotDir, storeDir, storedPath, transferDir } from "../paths.ts";
import type { ArtifactSource } from "../transfer/artifact-source.ts";
import { readSlotBundle, requireSpace, storedBundle } from "./install.ts";

/**
 * Errors: those of the source, `disk-full`, `manifest-invalid`, `artifact-too-long` when the files
 * together are longer than the manifest announced.
 */
export async function fetchAll(
  context: AgentContext,
  source: ArtifactSource,
  options: { manifest: Manifest; signal: AbortSignal; onProgress: (fraction: number) => void },
): Promise<void> {
  const { manifest, signal } = options;
  await requireSpace(context, manifest);
  await source.fetch(manifest.bundle, signal, () => {});
  const bundle = await storedBundle(context, manifest);
  requireAnnounced(manifest, bundle);
  for (const file of bundle.files) {
    if (await copyFromSlots(context, manifest.model, file)) continue;
    await source.fetch(file, signal, options.onProgress);
  }
  await fetchProofs(source, manifest, signal);
}

/** The golden shards and reference outputs alone. Errors: those of the source. */
export async function fetchProofs(
  source: ArtifactSource,
  manifest: Manifest,
  signal: AbortSignal,
): Promise<void> {
  for (const { shard, reference } of manifest.golden) {
    await source.fetch(shard, signal, () => {});
    await source.fetch(reference, signal, () => {});
  }
}

function requireAnnounced(manifest: Manifest, bundle: Bundle): void {
  if (bundle.model !== manifest.model || bundle.version !== manifest.version) {
    throw new FleetError(
      "manifest-invalid",
      `the bundle is ${bundle.model} ${bundle.version}, not what was ordered`,
    );
  }
  const bytes = bundle.files.reduce((sum, file) => sum + file.bytes, 0);
  if (bytes > manifest.filesBytes) {
    throw new FleetError(
      "artifact-too-long",
      `the bundle's files have ${bytes} bytes; ${manifest.filesBytes} were announced`,
    );
  }
  modelFile(bundle);
}

/** A file that a slot of the model already holds need not travel again. */
async function copyFromSlots(
  context: AgentContext,
  model: string,
  file: Bundle["files"][number],
): Promise<boolean> {
  const { files, store, dataDir } = context;
  const target = storedPath(dataDir, file.sha256);
  if ((await files.stat(target)) !== undefined) return true;
  for (const which of ["a", "b"] as const) {
    const slot = store.model(model) && store.slot(model, which);
    if (slot?.status !== "ready" || slot.bundleSha256 === null) continue;
    const held = await readSlotBundle(context, model, which, slot.bundleSha256);
    const match = held.files.find(({ sha256 }) => sha256 === file.sha256);
    if (match === undefined) continue;
    const from = join(slotDir(dataDir, model, which), match.name);
    if ((await hashFile(files, from))?.sha256 !== file.sha256) continue;
    await makeFolderDurable(files, dataDir, storeDir(dataDir));
    await copyFileAtomic(files, from, target, file.bytes);
    return true;
  }
  return false;
}

/** Hashes of the proofs that a manifest names, and of probes, unverified ones too: only what to keep. */
export function namedArtifacts(documents: readonly unknown[]): Set<string> {
  const names = new Set<string>();
  for (const document of documents) {
    const signed = (document as { signed?: unknown } | null)?.signed;
    const order = costOrderSchema.safeParse(signed);
    if (order.success) names.add(order.data.probes.sha256);
    const parsed = manifestSchema.safeParse(signed);
    if (!parsed.success) continue;
    names.add(parsed.data.bundle.sha256);
    for (const { shard, reference } of parsed.data.golden)
      names.add(shard.sha256).add(reference.sha256);
  }
  return names;
}

/** Hashes of the files that waiting attempts, named by their manifests, will move out of the store. */
export async function filesToInstall(
  context: AgentContext,
  documents: readonly unknown[],
): Promise<string[]> {
  const hashes: string[] = [];
  for (const document of documents) {
    const parsed = manifestSchema.safeParse((document as { signed?: unknown } | null)?.signed);
    if (!parsed.success) continue;
    const descriptor = storedPath(context.dataDir, parsed.data.bundle.sha256);
    if ((await context.files.stat(descriptor)) === undefined) continue;
    const { files } = await storedBundle(context, parsed.data);
    hashes.push(...files.map(({ sha256 }) => sha256));
  }
  return hashes;
}

/**
 * Removes stored artifacts that are not in `keep`, and what unfinished transfers left. Only called
 * when nothing is under way; slots are never touched.
 */
export async function collectArtifacts(
  context: AgentContext,
  keep: ReadonlySet<string>,
): Promise<void> {
  const { files, store, dataDir } = context;
  for (const name of await files.list(storeDir(dataDir))) {
    if (!keep.has(name)) await files.remove(join(storeDir(dataDir), name));
  }
  for (const name of await files.list(transferDir(dataDir))) {
    store.dropTransfer(name);
    await files.remove(join(transferDir(dataDir), name));
  }
}
