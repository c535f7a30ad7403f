/** The cost table of a device as `fleetfit device costs --json` prints it, to foretell times on that device. */
import { deviceCostsSchema } from "../../shared/api/routes/devices.ts";
import { processorOf } from "../../shared/devices/processor.ts";
import { FleetError } from "../../shared/errors.ts";
import type { Files } from "../../shared/ports/files.ts";
import { channelSteps } from "../compress/cost/channel-steps.ts";
import type { Costs } from "../compress/cost/foretell.ts";

const tableBytesMax = 1_000_000;

export interface DeviceCosts extends Costs {
  readonly device: string;
  /** True when its hardware is declared. */
  readonly emulated: boolean;
  /** True when it did much else while it was timed. */
  readonly degraded: boolean;
}

/** Errors: `file-unusable`, `input-invalid`. */
export async function readCostTable(files: Files, path: string): Promise<DeviceCosts> {
  if ((await files.stat(path)) === undefined) {
    throw new FleetError("file-unusable", `there is no ${path}`);
  }
  const bytes = await files.read(path, { maxBytes: tableBytesMax });
  const { device, measured, processor: instructions } = parse(bytes, path);
  const processor = processorOf(instructions);
  if (measured === null || channelSteps(measured.table) === undefined || processor === undefined) {
    throw unusable(path, "it tells too little of that device");
  }
  const { table, emulated, degraded } = measured;
  return { device, table, processor, emulated, degraded };
}

function parse(bytes: Uint8Array, path: string) {
  try {
    return deviceCostsSchema.parse(JSON.parse(new TextDecoder().decode(bytes)));
  } catch (cause) {
    throw unusable(path, "it is something else", cause);
  }
}

function unusable(path: string, why: string, cause?: unknown): FleetError {
  const message = `${path} is no cost table: ${why}; \`fleetfit device costs DEVICE --json\` prints one`;
  return new FleetError("input-invalid", message, { cause });
}
