/** Backup and restore with the real file system. */
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { z } from "zod";
import { systemClock } from "../../shared/adapters/system-clock.ts";
import { systemFiles } from "../../shared/adapters/system-files.ts";
import { openSystemSqlite } from "../../shared/adapters/system-sqlite.ts";
import {
  type BackupManifest,
  type BackupPorts,
  makeBackup,
  type OnProgress,
} from "../backup/backup.ts";
import { restoreBackup } from "../backup/restore.ts";

const announcedSchema = z.object({ configDir: z.string().optional() });

interface Summary {
  readonly files: number;
  readonly bytes: number;
  readonly createdAtMs: number;
}

export async function backupController(
  order: { dataDir: string; configDir?: string | undefined; to: string },
  onProgress: OnProgress,
): Promise<Summary> {
  const dataDir = resolve(order.dataDir);
  const configDir = order.configDir ?? configDirOf(dataDir);
  const paths = { dataDir, to: resolve(order.to), ...configOf({ configDir }) };
  return summaryOf(await makeBackup(systemPorts(), paths, onProgress));
}

export async function restoreController(
  order: { dataDir: string; configDir?: string | undefined; from: string },
  onProgress: OnProgress,
): Promise<Summary & { pausedRollouts: number }> {
  const paths = { dataDir: resolve(order.dataDir), from: resolve(order.from), ...configOf(order) };
  const { manifest, pausedRollouts } = await restoreBackup(systemPorts(), paths, onProgress);
  return { ...summaryOf(manifest), pausedRollouts };
}

/** Where the controller that runs or last ran on this folder has its settings. */
function configDirOf(dataDir: string): string | undefined {
  const path = join(dataDir, "controller.json");
  if (!existsSync(path)) return undefined;
  const found = announcedSchema.safeParse(JSON.parse(readFileSync(path, "utf8")));
  return found.success ? found.data.configDir : undefined;
}

function configOf({ configDir }: { configDir?: string | undefined }): { configDir?: string } {
  return configDir === undefined ? {} : { configDir: resolve(configDir) };
}

function summaryOf({ files, createdAtMs }: BackupManifest): Summary {
  return {
    files: files.length,
    bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
    createdAtMs,
  };
}

function systemPorts(): BackupPorts {
  return { files: systemFiles(), openSqlite: openSystemSqlite, clock: systemClock() };
}
