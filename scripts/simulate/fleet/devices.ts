/** The devices of one seed: supervised, with their batteries, and watched for installs. */
import type { Random } from "../../../shared/prng.ts";
import { type InstallWatch, watchInstalls } from "../checks/installs.ts";
import { copyStorage, type World } from "../world/machine.ts";
import { type Battery, emptyBattery, mains } from "./battery.ts";
import type { FleetState } from "./fleet-state.ts";
import type { FaultMix } from "./mixes.ts";
import type { InstallRules } from "./region.ts";
import { type SimDevice, superviseDevice } from "./supervise.ts";

export interface FleetDevice extends SimDevice {
  readonly battery: Battery;
  readonly installs: InstallWatch;
}

/** Starts every device of `fleet` on a copy of what it holds. */
export function startDevices(
  world: World,
  fleet: FleetState,
  options: { mix: FaultMix; rules: InstallRules; random: Random },
): FleetDevice[] {
  const { mix, rules, random } = options;
  return [...fleet.devices].map(([name, stored]) => {
    const storage = copyStorage(stored);
    const isLow = random.nextFloat() < mix.lowBattery;
    const battery = isLow ? emptyBattery(storage.disk) : mains;
    const { charge } = battery;
    const installs = watchInstalls({ time: world.time, rules, charge });
    const device = superviseDevice(world, {
      name,
      storage,
      random,
      plan: installs.of,
    });
    return { ...device, battery, installs };
  });
}
