/** Releases that are brought to simulated fleets; the name of one is its version too. */
import { healthyModel, type SyntheticModel } from "../world/synthetic-model.ts";
import { type MixName, mixes } from "./mixes.ts";

export interface Release {
  readonly change: Partial<SyntheticModel>;
  /** Where it breaks every device, and must never leave the canary: anywhere, or only in service. */
  readonly breaks: "nowhere" | "in-trial" | "in-service";
  /** Drop of accuracy in the mean of the fleet, as a share; what promises speak of. */
  readonly meanDrop: number;
}

const breaking = (change: Partial<SyntheticModel>, breaks: Release["breaks"]): Release => ({
  change,
  breaks,
  meanDrop: 0,
});

/** A drop of `meanDrop` in the mean that all comes from `share` of the devices. */
const drops = (meanDrop: number, share: number): Release => ({
  change: { weakShare: share, weakDrop: meanDrop / share },
  breaks: "nowhere",
  meanDrop,
});

export const releases = {
  healthy: breaking({}, "nowhere"),
  crash: breaking({ crashes: "first-run" }, "in-trial"),
  hang: breaking({ hangsAtRun: 100 }, "in-trial"),
  memory: breaking({ ramPeakBytes: 3 * healthyModel.ramPeakBytes }, "in-trial"),
  slow: breaking({ latencyMs: 2 * healthyModel.latencyMs }, "in-trial"),
  "crash-live": breaking({ onMark: "crashes" }, "in-service"),
  "hang-live": breaking({ onMark: "hangs" }, "in-service"),
  "drop-all": drops(0.025, 1),
  "drop-20": drops(0.025, 0.2),
  "drop-10": drops(0.025, 0.1),
  "drop-5": drops(0.025, 0.05),
  "drop-3": drops(0.025, 0.03),
  "small-all": drops(0.01, 1),
  "small-10": drops(0.01, 0.1),
} satisfies Record<string, Release>;
export type ReleaseName = keyof typeof releases;

/** Whether a release breaks every device of a fleet that has these faults. */
export function isBroken(release: ReleaseName, mix: MixName): boolean {
  const { breaks } = releases[release];
  return breaks === "in-trial" || (breaks === "in-service" && mixes[mix].isInService);
}
