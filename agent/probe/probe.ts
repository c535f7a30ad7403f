/**
 * What this device is: read from /proc and /sys where they are right and cheap, from systeminformation
 * for the rest. Declared overrides imitate other hardware and mark the profile as emulated.
 */
import { z } from "zod";
import { readIsa } from "../../shared/devices/isa.ts";
import {
  type Profile,
  type ProfileOverride,
  profileOverrideSchema,
  profileSchema,
} from "../../shared/devices/profile.ts";
import { FleetError } from "../../shared/errors.ts";
import { readText } from "../../shared/files/read-text.ts";
import type { Files } from "../../shared/ports/files.ts";

/** What the operating system tells; the real one is made in main. */
export interface Inventory {
  readonly architecture: string;
  readonly platform: string;
  readonly kernel: string;
  readonly cpuModel: string;
  readonly cores: number;
  readonly ramBytes: number;
  readonly battery:
    | { readonly present: boolean; readonly onMains: boolean; readonly fraction: number }
    | undefined;
  readonly onnxruntime: string;
  readonly providers: readonly string[];
}

const thermalRoot = "/sys/class/thermal";

export async function probe(options: {
  files: Files;
  dataDir: string;
  inventory: Inventory;
  override: ProfileOverride | undefined;
}): Promise<Profile> {
  const { files, inventory } = options;
  const space = await files.space(options.dataDir);
  const { battery } = inventory;
  const probed = {
    architecture: inventory.architecture,
    platform: inventory.platform,
    kernel: inventory.kernel,
    cpuModel: inventory.cpuModel,
    cores: inventory.cores,
    isa: await readIsa(files),
    ramBytes: inventory.ramBytes,
    storageFreeBytes: space.freeBytes,
    storageTotalBytes: space.totalBytes,
    power: battery?.present ? (battery.onMains ? "mains" : "battery") : "mains",
    batteryFraction: battery?.present ? battery.fraction : null,
    thermalZones: await thermalZones(files),
    runtime: { onnxruntime: inventory.onnxruntime, providers: [...inventory.providers] },
    int8ToFloat32Ratio: null,
    emulated: false,
  };
  const declared = options.override === undefined ? {} : { ...options.override, emulated: true };
  return profileSchema.parse({ ...probed, ...declared });
}

/** Errors: `config-invalid`. */
export function parseOverride(bytes: Uint8Array): ProfileOverride {
  try {
    return profileOverrideSchema.parse(JSON.parse(new TextDecoder().decode(bytes)));
  } catch (cause) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : "not JSON";
    throw new FleetError("config-invalid", `profile override: ${why}`, { cause });
  }
}

export async function thermalZones(files: Files): Promise<Profile["thermalZones"]> {
  const zones: Profile["thermalZones"] = [];
  for (const name of await files.list(thermalRoot).catch(() => [])) {
    if (!name.startsWith("thermal_zone")) continue;
    const type = (await readText(files, `${thermalRoot}/${name}/type`)).trim();
    const milli = Number(await readText(files, `${thermalRoot}/${name}/temp`));
    if (type !== "" && Number.isFinite(milli)) zones.push({ type, celsius: milli / 1000 });
  }
  return zones;
}
