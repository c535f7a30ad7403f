/**
 * Boots a real agent on a disk that a power cut left, against the server as it was then, and lets the
 * update go on to its end. Checkers look at the disk, at the server and at the answers of the local
 * API, and never at what the agent says about itself.
 */
import { createHash } from "node:crypto";
import { cpSync, existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { databasePath, slotDir } from "../../../../agent/paths.ts";
import type { RunningController } from "../../../../controller/controller.ts";
import { getDevice } from "../../../../controller/fleet/devices.ts";
import { showRollout } from "../../../../controller/rollout/views.ts";
import { openSystemSqlite } from "../../../../shared/adapters/system-sqlite.ts";
import { decodeBundle } from "../../../../shared/artifact/bundle.ts";
import { verifyManifest } from "../../../../shared/artifact/manifest.ts";
import { startTestController } from "../../../../test/helpers/test-controller.ts";
import { program, waitFor } from "../../../fleet/programs.ts";
import type { Tree } from "./disk.ts";
import { type CutPoint, disksAt, type ServerPhase, writeTree } from "./disks.ts";
import { ask } from "./local-api.ts";
import { device, model, type Recording } from "./record.ts";

/** A boot, a download and a trial on a busy machine. */
const endTimeoutMs = 60_000;

export interface Replay {
  readonly point: CutPoint;
  readonly outcome: string;
  /** What the device said of it. */
  readonly why: string;
  /** What did not hold; empty when the cut was survived. */
  readonly faults: readonly string[];
}

/** One replay after the other: all of them speak to the server's one port. */
export async function* replayAll(
  recording: Recording,
  options: { folder: string; points: readonly CutPoint[] },
): AsyncGenerator<Replay> {
  const disks = disksAt(recording, options.points);
  for (const { point, tree } of disks) {
    yield { point, ...(await replay(recording, join(options.folder, "try"), tree, point.server)) };
  }
}

async function replay(
  recording: Recording,
  folder: string,
  tree: Tree,
  server: ServerPhase,
): Promise<Omit<Replay, "point">> {
  const agentDir = join(folder, "agent");
  const serverDir = join(folder, "server");
  if (server === "told" && forgetsOutcome(folder, tree)) {
    const fault = "outcome-kept: the server heard an outcome that the disk does not hold";
    return { outcome: "none", why: "", faults: [fault] };
  }
  writeTree(agentDir, tree);
  cpSync(recording.servers[server], serverDir, { recursive: true });
  const { configDir, mqttPort } = recording;
  const controller = await startTestController(serverDir, { config: { configDir, mqttPort } });
  const logPath = join(folder, "agent.log");
  const args = ["--data-dir", agentDir];
  const agent = program({ name: device, entry: "agent/main.ts", args, logPath });
  agent.start();
  try {
    const { outcome, why } = await endOf(controller, recording, agentDir);
    await agent.kill();
    const faults = diskFaults(controller, recording, { agentDir, outcome });
    if (outcome !== "committed") faults.push(`committed: a good update ended ${outcome}: ${why}`);
    return { outcome, why, faults };
  } catch (error) {
    const cause = error instanceof Error ? `${error.message}; ${error.cause ?? ""}` : error;
    return { outcome: "none", why: "", faults: [`no end: ${cause}${lastLine(logPath)}`] };
  } finally {
    await agent.kill();
    await controller.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Waits for the server's one outcome and for the model that belongs to it to answer. */
function endOf(
  { ctx }: RunningController,
  { rollout, bundles }: Recording,
  agentDir: string,
): Promise<{ outcome: string; why: string }> {
  return waitFor(
    "one outcome at the server and the model of this outcome on the device",
    async () => {
      const { attempts } = await showRollout(ctx, rollout);
      const { online, models } = await getDevice(ctx, device);
      const [{ outcome, why } = {}, ...more] = attempts;
      if (!online || outcome == null || more.length > 0 || models[model]?.update !== null) return;
      const expected = bundleOf(bundles, outcome);
      return (await ask(agentDir)) === expected ? { outcome, why: why ?? "" } : undefined;
    },
    { timeoutMs: endTimeoutMs, everyMs: 50 },
  );
}

const bundleOf = ([before, after]: Recording["bundles"], outcome: string) =>
  outcome === "committed" ? after : before;

interface DiskState {
  readonly committed: { slot: "a" | "b"; bundleSha256: string } | undefined;
  readonly attempts: readonly { manifestJson: string; state: string; outcomeJson: string | null }[];
}

function diskState(agentDir: string): DiskState {
  const sqlite = openSystemSqlite(databasePath(agentDir));
  try {
    const slots = sqlite.prepare(
      `select slot, bundleSha256 from slots join models on name = model and slot = committedSlot
       where model = ? and status = 'ready'`,
    );
    const attempts = sqlite.prepare(
      "select manifestJson, state, outcomeJson from attempts order by number",
    );
    return {
      committed: slots.get(model) as DiskState["committed"],
      attempts: attempts.all() as DiskState["attempts"],
    };
  } finally {
    sqlite.close();
  }
}

/** An outcome that the server heard must be on the disk before the agent speaks again. */
function forgetsOutcome(folder: string, tree: Tree): boolean {
  const copy = join(folder, "look");
  writeTree(copy, tree);
  try {
    const { attempts } = diskState(copy);
    return attempts.length !== 2 || attempts[1]?.outcomeJson == null;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** One committed model whose files are those of a signed manifest, and the outcome that was told. */
function diskFaults(
  { ctx }: RunningController,
  { bundles }: Recording,
  { agentDir, outcome }: { agentDir: string; outcome: string },
): string[] {
  const { committed, attempts } = diskState(agentDir);
  const faults: string[] = [];
  const signed = attempts.map(({ manifestJson }) =>
    verifyManifest(JSON.parse(manifestJson), [ctx.signingKey.publicKey]),
  );
  if (!signed.some(({ bundle }) => bundle.sha256 === committed?.bundleSha256)) {
    faults.push(`signed: ${committed?.bundleSha256} is committed and in no signed manifest`);
  }
  if (committed?.bundleSha256 !== bundleOf(bundles, outcome)) {
    faults.push(`committed: the outcome is ${outcome}, the disk has ${committed?.bundleSha256}`);
  }
  if (committed !== undefined) faults.push(...slotFaults(agentDir, committed));
  const last = attempts.at(-1);
  if (attempts.length !== 2 || last?.state !== outcome) {
    faults.push(`one-outcome: the server has ${outcome}, the disk ${last?.state}`);
  }
  return faults;
}

function slotFaults(agentDir: string, slot: { slot: "a" | "b"; bundleSha256: string }): string[] {
  const folder = slotDir(agentDir, model, slot.slot);
  const bundle = decodeBundle(
    new Uint8Array(readFileSync(join(folder, "bundle.json"))),
    slot.bundleSha256,
  );
  return bundle.files
    .filter(({ name, sha256 }) => {
      const bytes = readFileSync(join(folder, name));
      return createHash("sha256").update(bytes).digest("hex") !== sha256;
    })
    .map(({ name }) => `files: ${name} of the committed slot is not what was signed`);
}

function lastLine(logPath: string): string {
  const lines = existsSync(logPath) ? readFileSync(logPath, "utf8").trim().split("\n") : [];
  return `; its log ends: ${lines.at(-1)?.slice(0, 300) ?? ""}`;
}
