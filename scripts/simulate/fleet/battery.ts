/** A device's battery as its kernel shows it: two charges, one below the region's floor and one above. */
import { type Disk, putFile } from "../world/disk.ts";

const folder = "/sys/class/power_supply/BAT0";
const emptyPercent = 30;
const fullPercent = 90;

export interface Battery {
  charge(): number;
  fill(disk: Disk): void;
}

/** A device on mains, as it is without a battery. */
export const mains: Battery = { charge: () => 1, fill: () => {} };

/** A battery that is nearly empty until it is filled. Its files outlive restarts. */
export function emptyBattery(disk: Disk): Battery {
  let percent = emptyPercent;
  show(disk, percent);
  return {
    charge: () => percent / 100,
    fill(now) {
      percent = fullPercent;
      show(now, percent);
    },
  };
}

function show(disk: Disk, percent: number): void {
  putFile(disk, `${folder}/type`, "Battery\n");
  putFile(disk, `${folder}/status`, "Discharging\n");
  putFile(disk, `${folder}/capacity`, `${percent}\n`);
}
