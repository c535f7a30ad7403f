/** Backup of a running controller, restore into a new folder, and what a damaged backup does: nothing. */
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { backupManifestSchema, makeBackup } from "../../controller/backup/backup.ts";
import { restoreBackup } from "../../controller/backup/restore.ts";
import { backupController } from "../../controller/cli/backup.ts";
import type { RunningController } from "../../controller/controller.ts";
import { importVersion } from "../../controller/models/import.ts";
import { drawReleaseCounter, learnReleaseCounter } from "../../controller/rollout/counter.ts";
import { openDatabase } from "../../controller/storage/database.ts";
import { openSystemSqlite } from "../../shared/adapters/system-sqlite.ts";
import type { Files } from "../../shared/ports/files.ts";
import { realPorts, startTestController, temporaryFolder } from "../helpers/test-controller.ts";
import { tinyGolden, tinyInterface, tinyModelBytes } from "../helpers/tiny-classifier.ts";

const { folder, remove } = temporaryFolder();
const dataDir = join(folder, "data");
const configDir = join(folder, "config");
const backup = join(folder, "backup");
const ports = realPorts();
let controller: RunningController;

beforeAll(async () => {
  mkdirSync(configDir);
  writeFileSync(
    join(configDir, "regions.yaml"),
    "regions: [{ name: lab, title: Laboratory, link: { kind: lan } }]\n",
  );
  controller = await startTestController(dataDir, { config: { configDir } });
  const { ctx } = controller;
  const files: Record<string, string> = {};
  for (const [name, bytes] of Object.entries(tinyGolden()))
    files[name] = await ctx.blobs.put(bytes);
  await importVersion(ctx, {
    model: "tiny",
    version: "1",
    sourceSha256: await ctx.blobs.put(tinyModelBytes()),
    golden: { manifest: "golden.json", files },
    interface: tinyInterface,
  });
  const nowMs = ctx.clock.wallMs();
  const stages = [{ name: "fleet", select: { by: "all" } }];
  await ctx.db
    .insertInto("rollouts")
    .values({
      id: "r-1",
      model: "tiny",
      version: "1",
      kind: "release",
      restores: null,
      releaseCounter: 1,
      status: "running",
      reason: null,
      stateJson: JSON.stringify({ stages, stage: 0, stageStartedAtMs: nowMs }),
      createdAtMs: nowMs,
      updatedAtMs: nowMs,
    })
    .execute();
  await makeBackup(ports, { dataDir, configDir, to: backup });
});
afterAll(async () => {
  await controller.stop();
  remove();
});

it("is for its owner alone, as the controller's own files are", async () => {
  const restored = join(folder, "for the owner");
  await restoreBackup(ports, { from: backup, dataDir: restored });
  const modeOf = (...steps: string[]) => statSync(join(...steps)).mode & 0o777;
  for (const root of [dataDir, backup, restored]) {
    expect(modeOf(root), root).toBe(0o700);
    for (const name of readdirSync(root, { recursive: true, encoding: "utf8" })) {
      const isFolder = statSync(join(root, name)).isDirectory();
      expect(modeOf(root, name), join(root, name)).toBe(isFolder ? 0o700 : 0o600);
    }
  }
});

it("narrows the database of an older program", () => {
  const path = join(folder, "older.db");
  openSystemSqlite(path).close();
  chmodSync(path, 0o644);
  const sqlite = openSystemSqlite(path);
  sqlite.exec("create table t (x)");
  for (const name of ["older.db", "older.db-wal", "older.db-shm"])
    expect(statSync(join(folder, name)).mode & 0o777, name).toBe(0o600);
  sqlite.close();
});

it("holds the database, every file, the keys, the token and the settings", () => {
  const manifest = backupManifestSchema.parse(
    JSON.parse(readFileSync(join(backup, "backup.json"), "utf8")),
  );
  const paths = manifest.files.map(({ path }) => path);
  expect(paths).toEqual(
    expect.arrayContaining([
      "controller.db",
      "admin-token",
      "keys/authority.json",
      "config/regions.yaml",
    ]),
  );
  const stored = readdirSync(join(dataDir, "blobs"), { recursive: true, withFileTypes: true });
  const names = stored.filter((entry) => entry.isFile()).map(({ name }) => name);
  expect(paths.filter((path) => path.startsWith("blobs/"))).toHaveLength(names.length);
});

it("is restored as a controller with the same models, keys and token; rollouts wait", async () => {
  const restored = join(folder, "restored");
  const settings = join(folder, "restored-config");
  const result = await restoreBackup(ports, {
    from: backup,
    dataDir: restored,
    configDir: settings,
  });
  expect(result.pausedRollouts).toBe(1);
  const token = readFileSync(join(restored, "admin-token"), "utf8").trim();
  const again = await startTestController(restored, { config: { configDir: settings } });
  try {
    const ask = async (path: string) => {
      const headers = { authorization: `Bearer ${token}` };
      return (await fetch(`${again.httpUrl}${path}`, { headers })).json();
    };
    expect(await ask("/v1/models")).toMatchObject({ models: [{ name: "tiny" }] });
    expect(await ask("/v1/rollouts/r-1")).toMatchObject({
      status: "paused",
      reason: expect.stringContaining("restored from a backup"),
    });
    expect(await ask("/v1/regions")).toMatchObject({ regions: [{ name: "lab" }] });
    expect(again.ctx.signingKey).toEqual(controller.ctx.signingKey);
    expect(again.ctx.caPem).toBe(controller.ctx.caPem);
  } finally {
    await again.stop();
  }
});

it("a restored controller jumps past what its devices report", async () => {
  const restored = join(folder, "yesterday");
  await restoreBackup(ports, { from: backup, dataDir: restored });
  const sqlite = ports.openSqlite(join(restored, "controller.db"));
  const db = await openDatabase(sqlite, 0);
  try {
    expect(await drawReleaseCounter(db, "tiny")).toBe(1);
    // What a device has accepted since the backup arrives with its first report.
    await learnReleaseCounter(db, "tiny", 41);
    expect(await drawReleaseCounter(db, "tiny")).toBe(42);
    await learnReleaseCounter(db, "tiny", 7);
    expect(await drawReleaseCounter(db, "tiny")).toBe(43);
  } finally {
    await db.destroy();
  }
});

it("never writes into a folder that holds something", async () => {
  const order = { from: backup, dataDir };
  await expect(restoreBackup(ports, order)).rejects.toMatchObject({ code: "conflict" });
  await expect(makeBackup(ports, { dataDir, to: configDir })).rejects.toMatchObject({
    code: "conflict",
  });
});

it("never writes into the folder that it copies", async () => {
  for (const to of [dataDir, join(dataDir, "inside"), join(dataDir, "blobs", "inside")]) {
    await expect(makeBackup(ports, { dataDir, to })).rejects.toMatchObject({ code: "conflict" });
    if (to !== dataDir) expect(existsSync(to)).toBe(false);
  }
  await makeBackup(ports, { dataDir, to: `${dataDir}-beside` });
});

it("leaves no settings out silently", async () => {
  const to = join(folder, "without settings");
  const order = { dataDir, configDir: join(folder, "nowhere"), to };
  await expect(makeBackup(ports, order)).rejects.toMatchObject({ code: "not-found" });
  expect(existsSync(to)).toBe(false);
});

it("takes the settings that the controller was started with when none are named", async () => {
  const to = join(folder, "by command");
  await backupController({ dataDir, to }, () => {});
  expect(existsSync(join(to, "config", "regions.yaml"))).toBe(true);
});

/** Real files of which one write fails, as on a power cut or a full disk. */
function filesThatFailAt(path: string): Files {
  const { files } = ports;
  return {
    ...files,
    async open(name, mode) {
      if (name.endsWith(path)) throw Object.assign(new Error("cut off"), { code: "EIO" });
      return files.open(name, mode);
    },
  };
}

it.each(["keys/authority.json", "controller.db", "config/regions.yaml"])(
  "a restore that is cut off at %s is not started on, and is begun anew",
  async (path) => {
    const target = join(folder, `cut off at ${path.replaceAll("/", " ")}`);
    const order = {
      from: backup,
      dataDir: join(target, "data"),
      configDir: join(target, "config"),
    };
    const broken = { ...ports, files: filesThatFailAt(join(target, ...pathIn(path))) };
    await expect(restoreBackup(broken, order)).rejects.toMatchObject({ code: "EIO" });
    await expect(startTestController(order.dataDir)).rejects.toMatchObject({
      code: "conflict",
      message: expect.stringContaining("restore"),
    });
    expect(existsSync(join(order.dataDir, "admin-token.new"))).toBe(false);

    expect((await restoreBackup(ports, order)).pausedRollouts).toBe(1);
    expect(readdirSync(order.dataDir).sort()).toEqual(restoredNames());
    const again = await startTestController(order.dataDir, {
      config: { configDir: order.configDir },
    });
    expect(again.ctx.signingKey).toEqual(controller.ctx.signingKey);
    await again.stop();
  },
);

/** Where a file of the backup goes: settings beside the data. */
function pathIn(path: string): string[] {
  return path.startsWith("config/") ? path.split("/") : ["data", ...path.split("/")];
}

function restoredNames(): string[] {
  return readdirSync(backup).filter((name) => name !== "backup.json" && name !== "config");
}

it("says when there is nothing to copy", async () => {
  const missing = join(folder, "missing");
  const to = join(folder, "none");
  await expect(makeBackup(ports, { dataDir: missing, to })).rejects.toMatchObject({
    code: "not-found",
  });
  await expect(restoreBackup(ports, { from: missing, dataDir: to })).rejects.toMatchObject({
    code: "not-found",
  });
  expect(existsSync(to)).toBe(false);
});

it.each([
  [
    "a changed file",
    (copy: string) => appendFileSync(join(copy, "keys/authority.json"), " "),
    "artifact-mismatch",
  ],
  ["a missing file", (copy: string) => rmSync(join(copy, "admin-token")), "artifact-mismatch"],
  [
    "a copy that was not finished",
    (copy: string) => rmSync(join(copy, "backup.json")),
    "not-found",
  ],
  [
    "a manifest that leads elsewhere",
    (copy: string) => {
      const path = join(copy, "backup.json");
      writeFileSync(path, readFileSync(path, "utf8").replace('"admin-token"', '"../admin-token"'));
    },
    "input-invalid",
  ],
])("%s changes nothing", async (name, damage, code) => {
  const copy = join(folder, name);
  await makeBackup(ports, { dataDir, configDir, to: copy });
  damage(copy);
  const target = join(folder, `${name} restored`);
  await expect(restoreBackup(ports, { from: copy, dataDir: target })).rejects.toMatchObject({
    code,
  });
  expect(existsSync(target)).toBe(false);
});
