/**
 * Makes a controller's folder from a backup. Every file is held against the manifest before the first
 * one is written, and again on the way, so a damaged backup changes nothing.
 *
 * Invariant: a restored controller downgrades nobody and tries nothing again. Devices report the
 * highest release counter they have seen and the next one is drawn above it; what was rolling out is
 * paused, because the fleet has moved on since and a person has to look.
 *
 * Invariant: a folder that was made only in part is marked as such. No controller starts on it (one
 * with the database but without the keys would make new ones, which no device trusts); a repeated
 * restore begins it anew. The marker goes last, and stays inside the folder, which may be a mount.
 */
import { dirname, join } from "node:path";
import { z } from "zod";
import { FleetError } from "../../shared/errors.ts";
import { writeFileAtomic } from "../../shared/files/atomic-file.ts";
import type { Files } from "../../shared/ports/files.ts";
import {
  type BackupManifest,
  type BackupPorts,
  backupManifestSchema,
  databaseName,
  manifestName,
  type OnProgress,
  settingsFolder,
} from "./backup.ts";
import { copyFile, isEmptyFolder } from "./copy.ts";
import { restoreMarkerPath } from "./restore-marker.ts";

const markerSchema = z.object({ targets: z.array(z.string()) });
const markerBytesMax = 100_000;

/** A manifest of a million files is about 150 MB. */
const manifestBytesMax = 200_000_000;

export interface Restored {
  readonly manifest: BackupManifest;
  /** Rollouts that were running when the backup was made. */
  readonly pausedRollouts: number;
}

/**
 * Errors: `not-found` without a backup, `conflict` when a target is not empty, `artifact-mismatch` for
 * a file that is not what the manifest says, `input-invalid` for a manifest that is not one.
 */
export async function restoreBackup(
  ports: BackupPorts,
  order: { from: string; dataDir: string; configDir?: string | undefined },
  onProgress: OnProgress = () => {},
): Promise<Restored> {
  const { files } = ports;
  const { from, dataDir, configDir } = order;
  const manifest = await readManifest(files, from);
  const targets = [dataDir, ...(configDir === undefined ? [] : [configDir])];
  const unfinished = await unfinishedTargets(files, dataDir);
  for (const target of targets) {
    if (unfinished.includes(target) || (await isEmptyFolder(files, target))) continue;
    throw new FleetError("conflict", `${target} is not empty; name a new folder`);
  }
  await verify(files, from, manifest, onProgress);
  await beginAnew(files, dataDir, targets, unfinished);
  for (const [index, file] of manifest.files.entries()) {
    onProgress(0.5 + index / manifest.files.length / 2, `file ${index + 1}`);
    const to = targetOf(file.path, dataDir, configDir);
    if (to === undefined) continue;
    const copied = await copyFile(files, join(from, file.path), to);
    if (copied.sha256 !== file.sha256) throw damaged(file.path);
  }
  const pausedRollouts = pauseRollouts(ports, join(dataDir, databaseName));
  for (const target of targets) {
    await files.makeDirectory(target);
    await files.syncDirectory(target);
    await files.syncDirectory(dirname(target));
  }
  await files.remove(restoreMarkerPath(dataDir));
  await files.syncDirectory(dataDir);
  onProgress(1, "done");
  return { manifest, pausedRollouts };
}

/** The folders that a restore was filling when it was cut off. */
async function unfinishedTargets(files: Files, dataDir: string): Promise<readonly string[]> {
  const path = restoreMarkerPath(dataDir);
  if ((await files.stat(path)) === undefined) return [];
  const bytes = await files.read(path, { maxBytes: markerBytesMax });
  return markerSchema.parse(JSON.parse(new TextDecoder().decode(bytes))).targets;
}

/** Marks the folder, then empties what a restore before this one left. */
async function beginAnew(
  files: Files,
  dataDir: string,
  targets: readonly string[],
  unfinished: readonly string[],
): Promise<void> {
  const marker = restoreMarkerPath(dataDir);
  await files.makeDirectory(dataDir);
  await writeFileAtomic(files, marker, new TextEncoder().encode(JSON.stringify({ targets })));
  for (const target of targets.filter((each) => unfinished.includes(each))) {
    for (const name of await files.list(target)) {
      if (join(target, name) !== marker) await files.remove(join(target, name));
    }
  }
}

async function readManifest(files: Files, from: string): Promise<BackupManifest> {
  const path = join(from, manifestName);
  if ((await files.stat(path)) === undefined) {
    throw new FleetError("not-found", `${from} holds no finished backup`);
  }
  const bytes = await files.read(path, { maxBytes: manifestBytesMax });
  try {
    return backupManifestSchema.parse(JSON.parse(new TextDecoder().decode(bytes)));
  } catch (cause) {
    throw new FleetError("input-invalid", `${path} is not a backup's manifest`, { cause });
  }
}

async function verify(
  files: Files,
  from: string,
  manifest: BackupManifest,
  onProgress: OnProgress,
): Promise<void> {
  for (const [index, file] of manifest.files.entries()) {
    onProgress(index / manifest.files.length / 2, `checking file ${index + 1}`);
    const path = join(from, file.path);
    if ((await files.stat(path)) === undefined) throw damaged(file.path);
    const { sha256, bytes } = await copyFile(files, path, undefined);
    if (sha256 !== file.sha256 || bytes !== file.bytes) throw damaged(file.path);
  }
}

/** Settings go where the operator keeps them, or stay in the backup. */
function targetOf(
  path: string,
  dataDir: string,
  configDir: string | undefined,
): string | undefined {
  const prefix = `${settingsFolder}/`;
  if (!path.startsWith(prefix)) return join(dataDir, path);
  return configDir === undefined ? undefined : join(configDir, path.slice(prefix.length));
}

function pauseRollouts({ openSqlite, clock }: BackupPorts, databasePath: string): number {
  const sqlite = openSqlite(databasePath);
  const reason = "paused when the controller was restored from a backup";
  try {
    return sqlite.transaction(() => {
      const { changes } = sqlite
        .prepare(
          `update rollouts set status = 'paused', reason = ?
           where status in ('running', 'awaiting-promotion')`,
        )
        .run(reason);
      sqlite
        .prepare(
          `insert into events ("atMs", kind, subject, message, "dataJson") values (?, ?, ?, ?, ?)`,
        )
        .run(
          clock.wallMs(),
          "controller-restored",
          "controller",
          reason,
          JSON.stringify({ changes }),
        );
      return changes;
    });
  } finally {
    sqlite.close();
  }
}

function damaged(path: string): FleetError {
  return new FleetError("artifact-mismatch", `${path} is not what the backup's manifest says`);
}
