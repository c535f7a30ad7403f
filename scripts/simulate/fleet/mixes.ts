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
  /** Drop of accuracy in the mean of the fleet, as a share; what promises speak of. */
  readonly meanDrop: number;
}

const breaks = (change: Partial<SyntheticModel>): Release => ({
  change,
  broken: true,
  meanDrop: 0,
});

/** A drop of `meanDrop` in the mean that all comes from `share` of the devices. */
const drops = (meanDrop: number, share: number): Release => ({
  change: { weakShare: share, weakDrop: meanDrop / share },
  broken: false,
  meanDrop,
});

/** Releases by name, which is their version too. Drops: 2.5 points and above in a share of the devices. */
export const releases = {
  healthy: { change: {}, broken: false, meanDrop: 0 },
  crash: breaks({ crashes: "first-run" }),
  hang: breaks({ hangsAtRun: 100 }),
  memory: breaks({ ramPeakBytes: 3 * healthyModel.ramPeakBytes }),
  slow: breaks({ latencyMs: 2 * healthyModel.latencyMs }),
  "drop-all": drops(0.025, 1),
  "drop-20": drops(0.025, 0.2),
  "drop-10": drops(0.025, 0.1),
  "drop-5": drops(0.025, 0.05),
  "drop-3": drops(0.025, 0.03),
  "small-all": drops(0.01, 1),
  "small-10": drops(0.01, 0.1),
} satisfies Record<string, Release>;
export type ReleaseName = keyof typeof releases;
