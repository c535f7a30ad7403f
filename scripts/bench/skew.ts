/**
 * A fleet whose controller and agents are of two releases: a good update is committed, a better one
 * too, and a worse one is rolled back, with the previous agents and with the previous controller.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { devices, startRollout, waitForRollout } from "../demo/operator.ts";
import { digitsModel, startDigitsFleet } from "../fleet/digits-fleet.ts";
import type { LocalFleet, Releases } from "../fleet/local-fleet.ts";
import { waitFor } from "../fleet/programs.ts";
import { atLeast, type Benchmark, type Row } from "./frame.ts";

/** The last commit whose agents and controller called themselves 0.1.0. */
const previousCommit = "a46e2fe";
const ownRoot = fileURLToPath(new URL("../..", import.meta.url));
const versions = ["1", "2", "3"];
const settleTimeoutMs = 60_000;

/** What each version must end as, and what its devices serve afterwards. */
const expected = [
  { version: "1", outcome: "committed", serves: "1" },
  { version: "2", outcome: "committed", serves: "2" },
  { version: "3", outcome: "rolled-back", serves: "2" },
];

export const skewBenchmark: Benchmark = {
  name: "skew",
  summary: `releases of two ages in one fleet: this one and ${previousCommit}`,
  async run(say) {
    const previousRoot = unpackPrevious();
    const pairs: { pair: string; releases: Releases }[] = [
      { pair: "previous agents, this controller", releases: { agentRoot: previousRoot } },
      { pair: "these agents, previous controller", releases: { controllerRoot: previousRoot } },
    ];
    const rows: Row[] = [];
    try {
      for (const { pair, releases } of pairs) {
        const fleet = await startDigitsFleet(["fp16"], { versions, releases });
        try {
          for (const step of expected) {
            const faults = await roll(fleet, step);
            say(`${pair}, version ${step.version}: ${faults.join("; ") || step.outcome}`);
            rows.push({ pair, ...step, faults: faults.join("; ") });
          }
        } finally {
          await fleet.stop();
          rmSync(fleet.folder, { recursive: true, force: true });
        }
      }
    } finally {
      rmSync(previousRoot, { recursive: true, force: true });
    }
    const held = rows.filter(({ faults }) => faults === "").length;
    return {
      rows,
      bars: [atLeast("rollouts that ended as they must", held, pairs.length * expected.length)],
    };
  },
};

/** Errors: an `Error` of git where the history is not there. */
function unpackPrevious(): string {
  const folder = mkdtempSync(join(tmpdir(), "fleetfit-previous-"));
  const archive = execFileSync("git", ["archive", previousCommit], {
    cwd: ownRoot,
    maxBuffer: 2 ** 30,
  });
  execFileSync("tar", ["-x", "-C", folder], { input: archive });
  symlinkSync(join(ownRoot, "node_modules"), join(folder, "node_modules"));
  return folder;
}

async function roll(fleet: LocalFleet, step: (typeof expected)[number]): Promise<string[]> {
  const id = await startRollout(fleet.api(), digitsModel, step.version);
  const { attempts } = await waitForRollout(
    fleet.api,
    id,
    "its end",
    ({ status, attempts }) =>
      status !== "running" && attempts.every((attempt) => attempt.status !== "offered"),
  );
  const decided = attempts.filter(({ status }) => status === "decided");
  const faults = decided
    .filter(({ outcome }) => outcome !== step.outcome)
    .map(({ device, outcome, why }) => `${device} ended ${outcome}: ${why}`);
  if (decided.length === 0) faults.push("no device was tried");
  if (new Set(decided.map(({ device }) => device)).size !== decided.length) {
    faults.push("a device has two outcomes");
  }
  const serving = async () => {
    const all = await devices(fleet.api());
    const settled = all.every(({ models }) => {
      const state = models[digitsModel];
      return (
        state?.committed?.version === step.serves &&
        state.servingSha256 === state.committed.bundleSha256
      );
    });
    return settled ? true : undefined;
  };
  await waitFor(`every device to serve version ${step.serves}`, serving, {
    timeoutMs: settleTimeoutMs,
  }).catch((error: unknown) => faults.push(String(error)));
  return faults;
}
