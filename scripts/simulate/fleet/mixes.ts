/** What goes wrong in a simulated fleet, as shares and counts; a seed decides when and where. */
import type { LinkFaults } from "../world/network.ts";
import { goodLinks } from "../world/network.ts";

export interface FaultMix {
  readonly links: LinkFaults;
  /** Losses of power per device, and cut-off spells per device, over the disturbed time. */
  readonly powerCuts: number;
  readonly spells: number;
  /** How often the broker drops everybody, and the controller is killed and started again. */
  readonly brokerDrops: number;
  readonly controllerKills: number;
  /** Signed holds of the region, one after the other, each released after a while. */
  readonly holds: number;
  /** Share of devices on a battery that is below the region's floor for a while. */
  readonly lowBattery: number;
  /** The region allows installs in windows only, which open after the rollout began. */
  readonly hasWindows: boolean;
  /** Devices answer live inputs, some of them marked, and watch what they committed. */
  readonly isInService: boolean;
}

const none: FaultMix = {
  links: goodLinks,
  powerCuts: 0,
  spells: 0,
  brokerDrops: 0,
  controllerKills: 0,
  holds: 0,
  lowBattery: 0,
  hasWindows: false,
  isInService: false,
};
const lossy: LinkFaults = { lost: 0.02, doubled: 0.02, late: 0.05 };

export const mixes = {
  none,
  links: { ...none, links: lossy, spells: 0.3 },
  power: { ...none, powerCuts: 0.5 },
  servers: { ...none, brokerDrops: 3, controllerKills: 2 },
  holds: { ...none, links: lossy, powerCuts: 0.2, holds: 2 },
  windows: { ...none, spells: 0.3, lowBattery: 0.3, hasWindows: true },
  service: { ...none, links: lossy, powerCuts: 0.2, spells: 0.3, isInService: true },
  all: {
    ...none,
    links: lossy,
    powerCuts: 0.3,
    spells: 0.3,
    brokerDrops: 1,
    controllerKills: 1,
    holds: 1,
    lowBattery: 0.1,
  },
} satisfies Record<string, FaultMix>;
export type MixName = keyof typeof mixes;
