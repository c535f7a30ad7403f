/**
 * Records one update of a real agent, call by call, with strace: version 1 is committed, version 2 is
 * ordered, installed, tried and committed. What is left is all that a replay needs: the folder before,
 * the operations on it, and the server before and after it heard the outcome.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { RunningController } from "../../../../controller/controller.ts";
import { getDevice } from "../../../../controller/fleet/devices.ts";
import { startRollout } from "../../../../controller/rollout/service.ts";
import { showRollout } from "../../../../controller/rollout/views.ts";
import { manifestSchema } from "../../../../shared/artifact/manifest.ts";
import { claimFor, prepareChoice } from "../../../../test/helpers/small-fleet.ts";
import { startTestController } from "../../../../test/helpers/test-controller.ts";
import { tinyModelBytes } from "../../../../test/helpers/tiny-classifier.ts";
import { freePort, program, waitFor } from "../../../fleet/programs.ts";
import { createDisk, type Tree } from "./disk.ts";
import { hashOf, type RecordedRun, readTree, type ServerPhase } from "./disks.ts";
import { type DiskOperation, readTrace } from "./trace.ts";
import { startTraced } from "./traced-agent.ts";

export const device = "cam-1";
export const model = "digits";
/** Long enough for a trial under strace on a busy machine. */
const stepTimeoutMs = 120_000;
export interface Recording extends RecordedRun {
  /** Data folders of the server in each of its phases. */
  readonly servers: Readonly<Record<ServerPhase, string>>;
  readonly mqttPort: number;
  readonly configDir: string;
  readonly rollout: string;
  /** Hashes of the two bundles, old and new. */
  readonly bundles: readonly [string, string];
  /** Bytes that the manifest of version 2 names: bundle, files, shards and references. */
  readonly updateBytes: number;
}

const classesYaml =
  "classes: [{ name: any, summary: all, match: {}, budget: {}, recipes: [fp32-clean], objective: size }]\n";

/** Why calls cannot be recorded here; undefined when they can. */
export function whyNoStrace(): string | undefined {
  const { error, status, stderr } = spawnSync("strace", ["-f", "-o", "/dev/null", "true"]);
  if (error !== undefined) return `strace cannot be started: ${error.message}`;
  return status === 0 ? undefined : `strace may not trace: ${String(stderr).trim()}`;
}

/** Makes a file of three blocks. */
const channelsUsual = 512;

/** Works in `folder`, which is empty and stays for the replays. */
export async function recordUpdate(folder: string, channels = channelsUsual): Promise<Recording> {
  const configDir = join(folder, "config");
  const serverDir = join(folder, "server");
  const agentDir = join(folder, "agent");
  mkdirSync(configDir);
  writeFileSync(join(configDir, "classes.yaml"), classesYaml);
  const config = { configDir, mqttPort: await freePort() };
  const before = await startTestController(serverDir, { config });
  const bundles = [
    await prepare(before, "1", { channels, scale: 1 }),
    await prepare(before, "2", { channels, scale: 1.001 }),
  ] as const;
  await firstVersion(before, folder, agentDir);
  const rollout = (await startRollout(before.ctx, { model, version: "2", gate: "automatic" })).id;
  await before.stop();

  const servers = {
    before: join(folder, "before"),
    ordered: join(folder, "ordered"),
    told: join(folder, "told"),
  };
  cpSync(serverDir, servers.before, { recursive: true });
  cpSync(serverDir, servers.ordered, { recursive: true });
  const start = readTree(agentDir);
  const during = await startTestController(serverDir, { config });
  const traceFile = join(folder, "trace.txt");
  const agent = startTraced({ agentDir, traceFile, logPath: join(folder, "traced.log") });
  try {
    await copyOrdered(during, rollout, join(servers.ordered, "controller.db"));
    await settled(during, rollout);
  } finally {
    await agent.stop();
  }
  const { orderedAtMs, toldAtMs, updateBytes } = await conclusion(during, rollout);
  await during.stop();
  cpSync(serverDir, servers.told, { recursive: true });
  const operations = readTrace(readFileSync(traceFile, "utf8"), agentDir);
  requireWhole(start, operations, agentDir);
  const times = { orderedAtMs, toldAtMs };
  return { start, operations, ...times, servers, ...config, rollout, bundles, updateBytes };
}

function prepare(
  { ctx }: RunningController,
  version: string,
  change: { channels: number; scale: number },
): Promise<string> {
  const modelBytes = tinyModelBytes(change);
  return prepareChoice(ctx, { model, version, deviceClass: "any", modelBytes });
}

/** Enrols the device, commits version 1 on it and stops it. */
async function firstVersion(
  controller: RunningController,
  folder: string,
  agentDir: string,
): Promise<void> {
  const { ctx } = controller;
  const claimPath = join(folder, "claim");
  writeFileSync(claimPath, await claimFor(ctx, device), { mode: 0o600 });
  const agent = program({
    name: device,
    entry: "agent/main.ts",
    args: ["--data-dir", agentDir, "--claim", claimPath],
    logPath: join(folder, "first.log"),
  });
  agent.start();
  try {
    const classified = async () => ((await getDevice(ctx, device)).deviceClass ? true : undefined);
    await waitFor("the device to enrol", classified, { timeoutMs: stepTimeoutMs });
    const { id } = await startRollout(ctx, { model, version: "1" });
    await settled(controller, id);
  } finally {
    await agent.stop();
  }
}

/** Waits until the rollout is over and the device says that it serves what it committed. */
async function settled({ ctx }: RunningController, rollout: string): Promise<void> {
  await waitFor(
    `the end of ${rollout}`,
    async () => {
      const { status, attempts } = await showRollout(ctx, rollout);
      const state = (await getDevice(ctx, device)).models[model];
      const serving = state?.committed?.bundleSha256;
      const done = attempts[0]?.bundleSha256 === serving && state?.servingSha256 === serving;
      return status !== "running" && done && state?.update === null ? true : undefined;
    },
    { timeoutMs: stepTimeoutMs },
  );
}

/** Copies the database of the running server in the moment after its order. */
async function copyOrdered(
  { ctx }: RunningController,
  rollout: string,
  database: string,
): Promise<void> {
  const attempt = async () => (await showRollout(ctx, rollout)).attempts[0];
  const timeoutMs = stepTimeoutMs;
  await waitFor("the order", attempt, { timeoutMs, everyMs: 10 });
  rmSync(database);
  await ctx.sqlite.backup(database);
  if ((await attempt())?.outcome !== null) throw new Error("the update ended while it was copied");
}

/** Errors: an `Error` when the recorded update was not committed. */
async function conclusion({ ctx }: RunningController, rollout: string) {
  const row = await ctx.db
    .selectFrom("attempts")
    .select(["outcome", "why", "createdAtMs", "decidedAtMs", "manifestJson"])
    .where("rollout", "=", rollout)
    .executeTakeFirstOrThrow();
  if (row.outcome !== "committed") throw new Error(`the update ended ${row.outcome}: ${row.why}`);
  const manifest = manifestSchema.parse(JSON.parse(row.manifestJson).signed);
  const proofs = manifest.golden.flatMap(({ shard, reference }) => [shard.bytes, reference.bytes]);
  const updateBytes = [manifest.bundle.bytes, manifest.filesBytes, ...proofs].reduce(
    (sum, bytes) => sum + bytes,
  );
  return { orderedAtMs: row.createdAtMs, toldAtMs: row.decidedAtMs ?? Number.NaN, updateBytes };
}

/** The recorder is believed only when its operations, all of them, lead to the folder as it is. */
function requireWhole(start: Tree, operations: readonly DiskOperation[], folder: string): void {
  const disk = createDisk(start);
  for (const operation of operations) disk.apply(operation);
  if (hashOf(disk.live()) !== hashOf(readTree(folder))) {
    throw new Error("the recorded calls do not lead to the folder that the agent left");
  }
}
