/**
 * One kill try: roll one pre-built version out to a small fleet, SIGKILL one program at a random
 * moment, start it again, and see that everything ends well. Used by the tests and the benchmark.
 */
import { seededRandom } from "../../shared/prng.ts";
import { devices, startRollout, waitForRollout } from "../demo/operator.ts";
import type { DeviceView, RolloutView } from "../demo/views.ts";
import type { LocalFleet } from "./local-fleet.ts";
import { waitFor } from "./programs.ts";

/** One device, and then the other two at once. */
const stages = [
  { name: "canary", select: { by: "per-class", count: 1 } },
  { name: "fleet", select: { by: "all" } },
] as const;

/** An undisturbed rollout to three devices takes about this long; the kill falls somewhere in it. */
const killWindowMs = 4_000;
const settleTimeoutMs = 60_000;

export interface KillTry {
  readonly seed: number;
  readonly victim: string;
  readonly afterMs: number;
  readonly tookMs: number;
  /** What did not hold; empty when the try was survived. */
  readonly faults: readonly string[];
}

/** `version` must be compressed and chosen already; each try draws a new release counter for it. */
export async function killOnce(
  fleet: LocalFleet,
  options: { seed: number; model: string; version: string },
): Promise<KillTry> {
  const random = seededRandom(options.seed);
  const victims = [fleet.controller, ...fleet.agents.map(({ program }) => program)];
  const victim = victims[random.nextInt(victims.length)]!;
  const afterMs = random.nextInt(killWindowMs);
  const startedMs = performance.now();
  const id = await startRollout(fleet.api(), options.model, options.version, stages);
  await new Promise((resolve) => setTimeout(resolve, afterMs));
  await victim.kill();
  if (victim === fleet.controller) await fleet.startController();
  else victim.start();
  const rollout = await waitForRollout(
    fleet.api,
    id,
    "its end",
    ({ status }) => status !== "running",
  );
  const all = await settled(fleet, options);
  const faults = faultsOf(fleet, rollout, all, options);
  return {
    seed: options.seed,
    victim: victim.name,
    afterMs,
    tookMs: performance.now() - startedMs,
    faults,
  };
}

/** Waits until every device serves what it committed; answers what there is when it never does. */
async function settled(fleet: LocalFleet, { model }: { model: string }): Promise<DeviceView[]> {
  const ready = (device: DeviceView) => {
    const state = device.models[model];
    return (
      device.online &&
      state?.committed != null &&
      state.servingSha256 === state.committed.bundleSha256 &&
      state.update === null
    );
  };
  return waitFor(
    "every device to serve what it committed",
    async () => {
      const all = await devices(fleet.api());
      return all.every(ready) ? all : undefined;
    },
    { timeoutMs: settleTimeoutMs },
  ).catch(() => devices(fleet.api()));
}

function faultsOf(
  fleet: LocalFleet,
  rollout: RolloutView,
  all: readonly DeviceView[],
  { model, version }: { model: string; version: string },
): string[] {
  const faults: string[] = [];
  if (rollout.status !== "completed")
    faults.push(`the rollout ended ${rollout.status}: ${rollout.reason}`);
  for (const { device } of fleet.agents) {
    const attempts = rollout.attempts.filter((attempt) => attempt.device === device.id);
    const [only] = attempts;
    if (attempts.length !== 1 || only?.outcome !== "committed") {
      faults.push(
        `${device.id} has outcomes ${attempts.map(({ outcome, why }) => `${outcome} (${why})`)}`,
      );
      continue;
    }
    const state = all.find(({ id }) => id === device.id)?.models[model];
    // The bundle of an attempt is the one that its signed manifest names.
    if (state?.servingSha256 !== only.bundleSha256 || state.committed?.version !== version) {
      faults.push(
        `${device.id} serves ${state?.servingSha256}, its manifest names ${only.bundleSha256}`,
      );
    }
  }
  return faults;
}
