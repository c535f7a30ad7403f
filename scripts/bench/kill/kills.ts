/**
 * SIGKILL of any program at a random moment of an update: 200 seeded tries on three agents and a
 * controller, then the whole demo three times, which kills an agent and the controller itself.
 */
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { digitsModel, startDigitsFleet } from "../../fleet/digits-fleet.ts";
import { type KillTry, killOnce } from "../../fleet/kill-try.ts";
import { atLeast, atMost, type Outcome } from "../frame.ts";

const tries = 200;
const demos = 3;
/** Longest try that is allowed, in ms: the project's own limit. */
const tryMsMax = 12_000;

export async function runKills(say: (line: string) => void): Promise<Outcome> {
  const results: KillTry[] = [];
  const fleet = await startDigitsFleet(["fp16"]);
  try {
    for (let seed = 1; seed <= tries; seed++) {
      const version = seed % 2 === 1 ? "1" : "2";
      const result = await killOnce(fleet, { seed, model: digitsModel, version });
      results.push(result);
      say(
        `seed ${seed}: ${result.victim} after ${result.afterMs} ms, ${result.faults.join("; ") || "survived"}, ${Math.round(result.tookMs)} ms in all`,
      );
    }
  } finally {
    await fleet.stop();
    rmSync(fleet.folder, { recursive: true, force: true });
  }
  let demosHeld = 0;
  for (let run = 0; run < demos; run++) {
    const demo = fileURLToPath(new URL("../../demo/main.ts", import.meta.url));
    const { status } = spawnSync(process.execPath, [demo], { stdio: "ignore" });
    demosHeld += status === 0 ? 1 : 0;
    say(`demo ${run + 1}: exit code ${status}`);
  }
  const survived = results.filter(({ faults }) => faults.length === 0).length;
  const slowest = Math.max(...results.map(({ tookMs }) => tookMs));
  return {
    rows: results.map(({ faults, ...rest }) => ({ ...rest, faults: faults.join("; ") })),
    bars: [
      atLeast("kills survived", survived, tries),
      atLeast("demos with every expectation held", demosHeld, demos),
      atMost("slowest try, ms", Math.round(slowest), tryMsMax),
    ],
  };
}
