/** What goes wrong in a simulated fleet, as shares and counts; a seed decides when and where. */
import type { LinkFaults } from "../world/network.ts";
import { goodLinks } from "../world/network.ts";
import { healthyModel, type SyntheticModel } from "../world/synthetic-model.ts";

export interface FaultMix {
  readonly links: LinkFaults;
  /** Losses of power per device, and cut-off spells per device, over the disturbed time. */
  readonly powerCuts: number;
  readonly spells: number;
  /** How often the broker drops everybody, and the controller is killed and started again. */
  readonly brokerDrops: number;
  readonly controllerKills: number;
}

const none: FaultMix = {
  links: goodLinks,
  powerCuts: 0,
  spells: 0,
  brokerDrops: 0,
  controllerKills: 0,
};
const lossy: LinkFaults = { lost: 0.02, doubled: 0.02, late: 0.05 };

export const mixes = {
  none,
  links: { ...none, links: lossy, spells: 0.3 },
  power: { ...none, powerCuts: 0.5 },
  servers: { ...none, brokerDrops: 3, controllerKills: 2 },
  all: { links: lossy, powerCuts: 0.3, spells: 0.3, brokerDrops: 1, controllerKills: 1 },
} satisfies Record<string, FaultMix>;
export type MixName = keyof typeof mixes;

export interface Release {
  readonly change: Partial<SyntheticModel>;
  /** True when it breaks every device: it must never leave the canary. */
  readonly broken: boolean;
}

/** Releases by name, which is their version too. */
export const releases = {
  healthy: { change: {}, broken: false },
  crash: { change: { crashes: "first-run" }, broken: true },
  hang: { change: { hangsAtRun: 100 }, broken: true },
  memory: { change: { ramPeakBytes: 3 * healthyModel.ramPeakBytes }, broken: true },
  slow: { change: { latencyMs: 2 * healthyModel.latencyMs }, broken: true },
  worse: { change: { accuracy: healthyModel.accuracy - 0.2 }, broken: false },
} satisfies Record<string, Release>;
export type ReleaseName = keyof typeof releases;
