/**
 * One consistent copy of a controller: its database, the files it names, its keys and its settings,
 * under a manifest with the hash of each.
 *
 * The database is copied first, by SQLite itself and also while the controller runs. Files are named
 * by their content, never change, and are written before a row names them, so copying them afterwards
 * holds all that the copied rows name. The manifest is written last: a copy without one is not finished.
 */
import { join, relative } from "node:path";
import { z } from "zod";
import { sha256Schema } from "../../shared/artifact/hash.ts";
import { FleetError } from "../../shared/errors.ts";
import { writeFileAtomic } from "../../shared/files/atomic-file.ts";
import type { Clock } from "../../shared/ports/clock.ts";
import type { Files } from "../../shared/ports/files.ts";
import type { OpenSqlite } from "../../shared/ports/sqlite.ts";
import { copyFile, isEmptyFolder, isWithin, walk } from "./copy.ts";

export const manifestName = "backup.json";
export const databaseName = "controller.db";
/** Folder of the YAML files within a backup. */
export const settingsFolder = "config";
/** What else a controller's folder holds that cannot be made again. */
const keptFolders = ["blobs", "keys"] as const;
const keptFiles = ["admin-token"] as const;

export const backupManifestSchema = z.object({
  format: z.literal("fleetfit-backup/1"),
  createdAtMs: z.int(),
  files: z.array(
    z.object({
      /** Relative to the backup, with forward slashes and without steps upwards. */
      path: z.string().regex(/^(?!\/)(?!.*(^|\/)\.\.?(\/|$))[^\\]+$/),
      bytes: z.int().min(0),
      sha256: sha256Schema,
    }),
  ),
});
export type BackupManifest = z.infer<typeof backupManifestSchema>;

export interface BackupPorts {
  readonly files: Files;
  readonly openSqlite: OpenSqlite;
  readonly clock: Clock;
}

export type OnProgress = (fraction: number, message: string) => void;

/**
 * Errors: `not-found` without a database or a named folder of settings, `conflict` when the target is
 * not empty or lies in the controller's folder.
 */
export async function makeBackup(
  { files, openSqlite, clock }: BackupPorts,
  order: { dataDir: string; configDir?: string | undefined; to: string },
  onProgress: OnProgress = () => {},
): Promise<BackupManifest> {
  const { dataDir, configDir, to } = order;
  const databasePath = join(dataDir, databaseName);
  if ((await files.stat(databasePath)) === undefined) {
    throw new FleetError("not-found", `there is no controller in ${dataDir}`);
  }
  if (configDir !== undefined && (await files.stat(configDir))?.isDirectory !== true) {
    throw new FleetError("not-found", `there is no folder ${configDir} with settings`);
  }
  if (isWithin(dataDir, to)) {
    throw new FleetError("conflict", `${to} is part of ${dataDir}; name a folder outside of it`);
  }
  if (!(await isEmptyFolder(files, to))) {
    throw new FleetError("conflict", `${to} is not empty; name a new folder`);
  }
  await files.makeDirectory(to);
  onProgress(0, "database");
  const sqlite = openSqlite(databasePath);
  try {
    await sqlite.backup(join(to, databaseName));
  } finally {
    sqlite.close();
  }
  const copied = [await sealed(files, to, databaseName)];
  const sources = await sourcesOf(files, order);
  for (const [index, { from, path }] of sources.entries()) {
    onProgress(index / sources.length, `file ${index + 1} of ${sources.length}`);
    copied.push({ path, ...(await copyFile(files, from, join(to, path))) });
  }
  const manifest: BackupManifest = {
    format: "fleetfit-backup/1",
    createdAtMs: clock.wallMs(),
    files: copied,
  };
  const text = JSON.stringify(manifest, null, 2);
  await writeFileAtomic(files, join(to, manifestName), new TextEncoder().encode(text));
  onProgress(1, "done");
  return manifest;
}

/** Makes the copy of the database durable and hashes it. */
async function sealed(files: Files, to: string, name: string) {
  const path = join(to, name);
  const file = await files.open(path, "update");
  await file.sync().finally(() => file.close());
  await files.syncDirectory(to);
  const { sha256, bytes } = await copyFile(files, path, undefined);
  return { path: name, sha256, bytes };
}

async function sourcesOf(
  files: Files,
  { dataDir, configDir }: { dataDir: string; configDir?: string | undefined },
): Promise<{ from: string; path: string }[]> {
  const found: { from: string; path: string }[] = [];
  const add = (from: string, path: string) =>
    found.push({ from, path: path.replaceAll("\\", "/") });
  for (const name of keptFiles) {
    if ((await files.stat(join(dataDir, name))) !== undefined) add(join(dataDir, name), name);
  }
  for (const folder of keptFolders) {
    for (const from of await walk(files, join(dataDir, folder))) {
      // Names with a dot are files on their way; stored ones are bare hashes.
      if (folder === "blobs" && from.includes(".", dataDir.length + 1)) continue;
      add(from, relative(dataDir, from));
    }
  }
  if (configDir !== undefined) {
    for (const name of await files.list(configDir)) {
      if (name.endsWith(".yaml")) add(join(configDir, name), `${settingsFolder}/${name}`);
    }
  }
  return found;
}
