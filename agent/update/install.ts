/**
 * Moves verified files into the spare slot. The slot is marked bad before the first write and ready
 * after the last check, so a slot that says "ready" holds exactly its bundle, whatever happened.
 */
import { join } from "node:path";
import {
  type Bundle,
  bundleDescriptorBytesMax,
  bundleFileName,
  decodeBundle,
} from "../../shared/artifact/bundle.ts";
import type { Manifest } from "../../shared/artifact/manifest.ts";
import { FleetError } from "../../shared/errors.ts";
import { writeFileAtomic } from "../../shared/files/atomic-file.ts";
import { copyFileAtomic } from "../../shared/files/copy-file.ts";
import { makeFolderDurable } from "../../shared/files/durable-folder.ts";
import { hashFile } from "../../shared/files/hash-file.ts";
import type { AgentContext } from "../context.ts";
import { slotDir, storedPath } from "../paths.ts";
import { limitsOf } from "../serving/limits.ts";
import type { SlotName } from "../state/store.ts";

/** Space that an installation leaves free for the database and logs, in bytes. */
const spareBytes = 16_000_000;

/** The descriptor of a downloaded bundle. Errors: `artifact-mismatch`, `manifest-invalid`. */
export async function storedBundle(context: AgentContext, manifest: Manifest): Promise<Bundle> {
  const { sha256 } = manifest.bundle;
  const bytes = await context.files.read(storedPath(context.dataDir, sha256), {
    maxBytes: bundleDescriptorBytesMax,
  });
  return decodeBundle(bytes, sha256);
}

/** Errors: `disk-full` when the bundle and its proofs would not fit. */
export async function requireSpace(context: AgentContext, manifest: Manifest): Promise<void> {
  let needed = manifest.bundle.bytes + manifest.filesBytes + spareBytes;
  for (const ref of manifest.golden.flatMap(({ shard, reference }) => [shard, reference])) {
    // Shards are kept between versions.
    const stored = await context.files.stat(storedPath(context.dataDir, ref.sha256));
    if (stored === undefined) needed += ref.bytes;
  }
  const { freeBytes } = await context.files.space(context.dataDir);
  if (freeBytes < needed) {
    throw new FleetError("disk-full", `the update needs ${needed} bytes, ${freeBytes} are free`);
  }
}

export async function installIntoSlot(
  context: AgentContext,
  manifest: Manifest,
  slot: SlotName,
): Promise<void> {
  const { store, files, dataDir } = context;
  const bundle = await slotBundle(context, manifest, slot);
  const folder = slotDir(dataDir, manifest.model, slot);
  const row = {
    bundleSha256: manifest.bundle.sha256,
    version: manifest.version,
    recipe: manifest.recipe,
    releaseCounter: manifest.releaseCounter,
    limitsJson: JSON.stringify(limitsOf(manifest)),
  };
  store.transaction(() => store.markSlot(manifest.model, slot, { ...row, status: "bad" }));
  await makeFolderDurable(files, dataDir, folder);
  await removeStrangers(context, folder, bundle);
  for (const [index, file] of bundle.files.entries()) {
    const target = join(folder, file.name);
    const source = storedPath(dataDir, file.sha256);
    if ((await files.stat(source)) !== undefined) {
      // Two names may share their bytes: only the last one takes the stored file away.
      const again = bundle.files.slice(index + 1).some(({ sha256 }) => sha256 === file.sha256);
      if (again) await copyFileAtomic(files, source, target, file.bytes);
      else await files.rename(source, target);
    }
    const found = await hashFile(files, target);
    if (found?.sha256 !== file.sha256 || found.bytes !== file.bytes) {
      throw new FleetError(
        "artifact-mismatch",
        `${file.name} in slot ${slot} is not what was signed`,
      );
    }
  }
  const descriptor = storedPath(dataDir, manifest.bundle.sha256);
  if ((await files.stat(descriptor)) !== undefined) {
    const bytes = await files.read(descriptor, { maxBytes: bundleDescriptorBytesMax });
    await writeFileAtomic(files, join(folder, bundleFileName), bytes);
    await files.remove(descriptor);
  }
  await files.syncDirectory(folder);
  store.transaction(() => store.markSlot(manifest.model, slot, { ...row, status: "ready" }));
}

/** The descriptor, from the store or, when an earlier try already moved it, from the slot. */
async function slotBundle(
  context: AgentContext,
  manifest: Manifest,
  slot: SlotName,
): Promise<Bundle> {
  const stored = storedPath(context.dataDir, manifest.bundle.sha256);
  if ((await context.files.stat(stored)) !== undefined) return storedBundle(context, manifest);
  return readSlotBundle(context, manifest.model, slot, manifest.bundle.sha256);
}

/** The bundle that a slot holds. Errors: `artifact-mismatch`, `manifest-invalid`. */
export async function readSlotBundle(
  context: AgentContext,
  model: string,
  slot: SlotName,
  sha256: string,
): Promise<Bundle> {
  const path = join(slotDir(context.dataDir, model, slot), bundleFileName);
  return decodeBundle(
    await context.files.read(path, { maxBytes: bundleDescriptorBytesMax }),
    sha256,
  );
}

async function removeStrangers(
  context: AgentContext,
  folder: string,
  bundle: Bundle,
): Promise<void> {
  const wanted = new Set([bundleFileName, ...bundle.files.map(({ name }) => name)]);
  for (const name of await context.files.list(folder)) {
    if (!wanted.has(name)) await context.files.remove(join(folder, name));
  }
}

/** Empties a slot that lost its trial; a committed slot is never touched. */
export async function discardSlot(
  context: AgentContext,
  model: string,
  slot: SlotName,
): Promise<void> {
  if (context.store.model(model)?.committedSlot === slot) return;
  const empty = {
    bundleSha256: null,
    version: null,
    recipe: null,
    releaseCounter: null,
    limitsJson: null,
  };
  context.store.transaction(() => context.store.markSlot(model, slot, { ...empty, status: "bad" }));
  await context.files.remove(slotDir(context.dataDir, model, slot));
  context.store.transaction(() =>
    context.store.markSlot(model, slot, { ...empty, status: "empty" }),
  );
}
