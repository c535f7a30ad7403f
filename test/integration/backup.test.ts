/** Backup of a running controller, restore into a new folder, and what a damaged backup does: nothing. */
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { backupManifestSchema, makeBackup } from "../../controller/backup/backup.ts";
import { restoreBackup } from "../../controller/backup/restore.ts";
import type { RunningController } from "../../controller/controller.ts";
import { importVersion } from "../../controller/models/import.ts";
import { drawReleaseCounter, learnReleaseCounter } from "../../controller/rollout/counter.ts";
import { openDatabase } from "../../controller/storage/database.ts";
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
      status: "running",
      reason: null,
      stateJson: JSON.stringify({ stages, stage: 0, stageStartedAtMs: nowMs, releaseCounter: 1 }),
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
