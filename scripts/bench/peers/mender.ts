/**
 * The kill test beside mender's client, the best known updater of devices, from Debian. Its task is the
 * smaller one: it replaces one file from a local artifact and commits, without download and trial.
 * SIGKILL hits the client and its module together at a seeded moment of it.
 */
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { seededRandom } from "../../../shared/prng.ts";
import { digitsModel, startDigitsFleet } from "../../fleet/digits-fleet.ts";
import { killOnce } from "../../fleet/kill-try.ts";
import { atLeast, type Benchmark, median } from "../frame.ts";
import {
  type Artifact,
  createMenderDevice,
  type MenderDevice,
  menderVersion,
  whyNoMender,
} from "./mender-device.ts";

const tries = 50;
/** As long as the demo model's bundle, about. */
const fileBytes = 300_000;
const timedUpdates = 5;

export const menderBenchmark: Benchmark = {
  name: "mender",
  summary: `${tries} kills in an update of mender's client, and as many of ours`,
  async run(say) {
    const reason = whyNoMender();
    if (reason !== undefined) throw new Error(`the rival cannot be run: ${reason}`);
    const theirs = await killMender(say);
    const ours = await killOurs(say);
    const theirsSurvived = theirs.filter((one) => one.fileWhole && one.recordTrue && one.retried);
    const oursSurvived = ours.filter((faults) => faults === "").length;
    return {
      rows: [
        {
          who: `mender-client ${menderVersion()}`,
          task: "one file, local, no trial",
          tries: theirs.length,
          survived: theirsSurvived.length,
          fileWhole: theirs.filter(({ fileWhole }) => fileWhole).length,
          recordTrue: theirs.filter(({ recordTrue }) => recordTrue).length,
          retried: theirs.filter(({ retried }) => retried).length,
        },
        {
          who: "fleetfit",
          task: "three devices and a controller, download and trial",
          tries: ours.length,
          survived: oursSurvived,
        },
      ],
      bars: [atLeast("fleetfit: kills survived", oursSurvived, tries)],
    };
  },
};

interface MenderTry {
  /** At once: the file is one of the two versions. */
  readonly fileWhole: boolean;
  /** After the client's own rollback of what is open: the file is the one whose name it tells. */
  readonly recordTrue: boolean;
  /** The same update, tried again, is committed. */
  readonly retried: boolean;
  /** What the client said it was after its rollback. */
  readonly named: string;
}

async function killMender(say: (line: string) => void): Promise<MenderTry[]> {
  const folder = mkdtempSync(join(tmpdir(), "fleetfit-mender-"));
  try {
    const device = createMenderDevice(folder);
    const versions = ["a", "b"].map((name, index) => device.write(name, randomBytes(index + 1)));
    const [a, b] = versions as [Artifact, Artifact];
    const windowMs = await updateTimeMs(device, [a, b]);
    say(`mender's client takes ${Math.round(windowMs)} ms for an update that nobody kills`);
    const done: MenderTry[] = [];
    for (let seed = 1; seed <= tries; seed++) {
      // The last timed update left version a.
      const [before, after] = seed % 2 === 1 ? ([a, b] as const) : ([b, a] as const);
      const afterMs = seededRandom(seed).nextFloat() * windowMs;
      const one = await killUpdate(device, { before, after, afterMs });
      done.push(one);
      say(`mender, seed ${seed}, after ${Math.round(afterMs)} ms: ${JSON.stringify(one)}`);
    }
    return done;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Median of some updates; ends with the first artifact committed. */
async function updateTimeMs(
  device: MenderDevice,
  [a, b]: readonly [Artifact, Artifact],
): Promise<number> {
  const timesMs: number[] = [];
  for (let round = 0; round < timedUpdates; round++) {
    const startMs = performance.now();
    await ended(device.startUpdate(round % 2 === 0 ? a : b));
    timesMs.push(performance.now() - startMs);
  }
  const { output } = device.run("show-artifact");
  if (output !== a.name) throw new Error(`mender's client did not update: ${output}`);
  return median(timesMs);
}

async function killUpdate(
  device: MenderDevice,
  options: { before: Artifact; after: Artifact; afterMs: number },
): Promise<MenderTry> {
  const { before, after, afterMs } = options;
  const update = device.startUpdate(after);
  const gone = ended(update);
  await sleep(afterMs);
  if (update.pid !== undefined && update.exitCode === null) process.kill(-update.pid, "SIGKILL");
  await gone;
  const file = device.fileSha256();
  const fileWhole = file === before.sha256 || file === after.sha256;
  device.run("rollback");
  const named = device.run("show-artifact").output;
  const told = [before, after].find(({ name }) => name === named);
  const recordTrue = told !== undefined && told.sha256 === device.fileSha256();
  await ended(device.startUpdate(after));
  const again = device.run("show-artifact").output;
  const retried = again === after.name && device.fileSha256() === after.sha256;
  return { fileWhole, recordTrue, retried, named };
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => child.once("close", () => resolve()));
}

function randomBytes(seed: number): Uint8Array {
  const random = seededRandom(seed);
  return Uint8Array.from({ length: fileBytes }, () => random.nextInt(256));
}

async function killOurs(say: (line: string) => void): Promise<string[]> {
  const fleet = await startDigitsFleet(["fp16"]);
  const found: string[] = [];
  try {
    for (let seed = 1; seed <= tries; seed++) {
      const version = seed % 2 === 1 ? "1" : "2";
      const { victim, afterMs, faults } = await killOnce(fleet, {
        seed,
        model: digitsModel,
        version,
      });
      found.push(faults.join("; "));
      say(`ours, seed ${seed}: ${victim} after ${afterMs} ms: ${faults.join("; ") || "survived"}`);
    }
  } finally {
    await fleet.stop();
    rmSync(fleet.folder, { recursive: true, force: true });
  }
  return found;
}
