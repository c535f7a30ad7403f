/**
 * What feeds the device now, read when it is asked for: from /sys/class/power_supply where there is one
 * (kernel, Documentation/ABI/testing/sysfs-class-power), else as it was when the program started.
 *
 * Invariant: declared hardware is what it was declared to be; the machine under it is not asked.
 */
import type { Profile, ProfileOverride } from "../../shared/devices/profile.ts";
import { readText } from "../../shared/files/read-text.ts";
import type { Files } from "../../shared/ports/files.ts";

export interface Power {
  readonly source: Profile["power"];
  /** Charge of the battery, 0 to 1; null where there is none or it cannot be read. */
  readonly fraction: number | null;
}
export type ReadPower = () => Promise<Power>;

const supplyRoot = "/sys/class/power_supply";

export function powerReader(
  files: Files,
  known: { probed: Profile; override: ProfileOverride | undefined },
): ReadPower {
  const { power: source, batteryFraction: fraction } = known.probed;
  const { override } = known;
  const declared = override?.power !== undefined || override?.batteryFraction !== undefined;
  return async () => (declared ? undefined : await supplies(files)) ?? { source, fraction };
}

interface Supply {
  readonly type: string;
  readonly online: boolean;
  readonly status: string;
  readonly fraction: number | null;
}

/** Undefined where the kernel lists no supply of the machine itself. */
async function supplies(files: Files): Promise<Power | undefined> {
  const found: Supply[] = [];
  for (const name of await files.list(supplyRoot).catch(() => [])) {
    const read = async (fact: string) =>
      (await readText(files, `${supplyRoot}/${name}/${fact}`)).trim();
    // The battery of a mouse says nothing about this machine.
    if ((await read("scope")) === "Device") continue;
    found.push({
      type: await read("type"),
      online: (await read("online")) === "1",
      status: await read("status"),
      fraction: fractionOf(await read("capacity")),
    });
  }
  if (found.length === 0) return undefined;
  const batteries = found.filter(({ type }) => type === "Battery");
  if (batteries.length === 0) return { source: "mains", fraction: null };
  const fed =
    found.some(({ type, online }) => type !== "Battery" && online) ||
    batteries.some(({ status }) => status === "Charging" || status === "Full");
  return { source: fed ? "mains" : "battery", fraction: lowest(batteries) };
}

function fractionOf(capacity: string): number | null {
  return /^\d{1,3}$/.test(capacity) ? Math.min(1, Number(capacity) / 100) : null;
}

/** Of several batteries the emptiest known one decides: their sizes are not known. */
function lowest(batteries: readonly Supply[]): number | null {
  const known = batteries.flatMap(({ fraction }) => (fraction === null ? [] : [fraction]));
  return known.length === 0 ? null : Math.min(...known);
}
