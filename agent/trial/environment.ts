/**
 * What the machine is like while something is measured: its load, and whether it is slowed down on
 * purpose. Read from /proc and /sys, each file where there is one; what nobody tells accuses nobody.
 *
 * Sources: proc_loadavg(5); kernel documentation of sysfs-class-thermal and of
 * x86 thermal_throttle; the firmware's get_throttled bits of the Raspberry Pi.
 */

import { readText } from "../../shared/files/read-text.ts";
import type { Files } from "../../shared/ports/files.ts";
import type { Power } from "../probe/power.ts";

const thermalRoot = "/sys/class/thermal";
const firmwareThrottle = "/sys/devices/platform/soc/soc:firmware/get_throttled";
const coreThrottleCount = "/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count";
/** Bits 0 to 3: under-voltage, capped frequency, throttled, soft temperature limit, all now. */
const throttledNow = 0xf;
const tripPointsMax = 12;
const batteryFractionMin = 0.2;

export interface MachineState {
  /** Runnable processes per core over the last minute; undefined where the system does not tell. */
  readonly loadPerCore: number | undefined;
  /** Why the machine is slowed down, in words. */
  readonly throttled: string | undefined;
  /** Times that the processor throttled since the start of the machine. */
  readonly throttleCount: number;
}

export async function readMachine(files: Files, cores: number): Promise<MachineState> {
  const load = Number.parseFloat(await readText(files, "/proc/loadavg"));
  return {
    loadPerCore: Number.isFinite(load) ? load / cores : undefined,
    throttled: (await firmwareWords(files)) ?? (await thermalWords(files)),
    throttleCount: Number.parseInt(await readText(files, coreThrottleCount), 10) || 0,
  };
}

async function firmwareWords(files: Files): Promise<string | undefined> {
  const bits = Number.parseInt((await readText(files, firmwareThrottle)).trim(), 16);
  return (bits & throttledNow) === 0
    ? undefined
    : `the firmware slows the processor down (get_throttled ${bits.toString(16)})`;
}

/** A zone at its passive trip point is being cooled by slowing down. */
async function thermalWords(files: Files): Promise<string | undefined> {
  for (const name of await files.list(thermalRoot).catch(() => [])) {
    if (!name.startsWith("thermal_zone")) continue;
    const read = async (fact: string) =>
      (await readText(files, `${thermalRoot}/${name}/${fact}`)).trim();
    const milli = Number.parseInt(await read("temp"), 10);
    for (let trip = 0; trip < tripPointsMax; trip++) {
      const type = await read(`trip_point_${trip}_type`);
      if (type === "") break;
      const limitMilli = Number.parseInt(await read(`trip_point_${trip}_temp`), 10);
      if (type !== "passive" || !(limitMilli > 0) || !(milli >= limitMilli)) continue;
      const [now, limit] = [milli, limitMilli].map((each) => (each / 1000).toFixed(0));
      return `${await read("type")} is at ${now} °C, its passive limit is ${limit} °C`;
    }
  }
  return undefined;
}

/** On a low battery many machines run slower. */
export function lowBattery({ source, fraction }: Power): string | undefined {
  return source === "battery" && fraction !== null && fraction < batteryFractionMin
    ? `the battery is at ${(fraction * 100).toFixed(0)} %`
    : undefined;
}

/** Why a measurement between two looks at the machine counts for nothing, in words. */
export function unfitBetween(before: MachineState, after: MachineState): string | undefined {
  const throttled = before.throttled ?? after.throttled;
  if (throttled !== undefined) return throttled;
  const times = after.throttleCount - before.throttleCount;
  return times > 0 ? `the processor throttled ${times} times during the measurement` : undefined;
}
