/**
 * When and at which charge the devices of a seed may install: as the controller's file says it, in local
 * time, and as a checker reads it, in virtual time.
 */
import { putFile } from "../world/disk.ts";
import type { Storage } from "../world/machine.ts";
import { configDir } from "../world/programs.ts";
import { wallMsOf } from "../world/time.ts";
import type { FaultMix } from "./mixes.ts";

/** Every simulated device stands here. */
export const regionName = "eu-west";
/** Paris in January, when the world begins. */
const zoneOffsetMs = 3_600_000;
const minuteMs = 60_000;
const windowCount = 8;
const windowEveryMinutes = 30;
const windowMinutes = 10;
/** A window opens this long after the rollout began, so that the first devices have to wait. */
const firstAfterMinutes = 2;

export interface InstallRules {
  /** In virtual ms; undefined when it is always allowed. */
  readonly windows: readonly { readonly fromMs: number; readonly toMs: number }[] | undefined;
  /** 0 asks nothing. */
  readonly batteryFractionMin: number;
}

export const chargeMin = 0.5;

/** Writes the region of a seed to the controller's disk, before its start. */
export function writeRegion(
  controller: Storage,
  { hasWindows, lowBattery }: FaultMix,
  nowMs: number,
): InstallRules {
  const windows = hasWindows ? windowsFrom(nowMs) : undefined;
  const batteryFractionMin = lowBattery > 0 ? chargeMin : 0;
  const install = {
    windows: (windows ?? []).map(({ fromMs, toMs }) => ({ from: local(fromMs), to: local(toMs) })),
    batteryFractionMin,
  };
  const region = {
    name: regionName,
    title: "where simulated devices stand",
    timeZone: "Europe/Paris",
    link: { kind: "lan" },
    install,
  };
  // JSON is YAML.
  putFile(controller.disk, `${configDir}/regions.yaml`, JSON.stringify({ regions: [region] }));
  return { windows, batteryFractionMin };
}

function windowsFrom(nowMs: number): { fromMs: number; toMs: number }[] {
  const wallMs = wallMsOf(nowMs);
  const beginMs = Math.ceil(wallMs / minuteMs) * minuteMs - wallMs + nowMs;
  return Array.from({ length: windowCount }, (_, at) => {
    const fromMs = beginMs + (firstAfterMinutes + at * windowEveryMinutes) * minuteMs;
    return { fromMs, toMs: fromMs + windowMinutes * minuteMs };
  });
}

/** HH:MM of the local clock. */
const local = (virtualMs: number) =>
  new Date(Math.round(wallMsOf(virtualMs)) + zoneOffsetMs).toISOString().slice(11, 16);
