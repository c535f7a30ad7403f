/**
 * The machine's energy counter, where there is one: RAPL of x86 (readable by root alone since 2020) or
 * an energy sensor of hwmon. Both count microjoules of the whole package, idle power included.
 */

import { readText } from "../files/read-text.ts";
import type { Files } from "../ports/files.ts";

const raplZone = "/sys/class/powercap/intel-rapl:0";
const hwmonRoot = "/sys/class/hwmon";

export interface EnergyCounter {
  readonly source: "rapl" | "hwmon";
  /** Microjoules since some time in the past. */
  read(): Promise<number>;
  /** Microjoules at which the counter starts again from 0; undefined when it does not. */
  readonly rangeMicrojoules: number | undefined;
}

/** Undefined where the machine has no counter that this process may read. */
export async function findEnergyCounter(files: Files): Promise<EnergyCounter | undefined> {
  const counter = async (path: string) => Number.parseInt(await readText(files, path), 10);
  const rapl = `${raplZone}/energy_uj`;
  if (Number.isFinite(await counter(rapl))) {
    const range = await counter(`${raplZone}/max_energy_range_uj`);
    const rangeMicrojoules = range > 0 ? range : undefined;
    return { source: "rapl", read: () => counter(rapl), rangeMicrojoules };
  }
  for (const name of await files.list(hwmonRoot).catch(() => [])) {
    const path = `${hwmonRoot}/${name}/energy1_input`;
    if (!Number.isFinite(await counter(path))) continue;
    return { source: "hwmon", read: () => counter(path), rangeMicrojoules: undefined };
  }
  return undefined;
}

/** Microjoules between two readings; NaN when one failed or the counter fell without a range. */
export function spentBetween(
  before: number,
  after: number,
  rangeMicrojoules: number | undefined,
): number {
  const spent = after - before;
  return spent >= 0 ? spent : spent + (rangeMicrojoules ?? Number.NaN);
}
