/**
 * The six devices of the demo: two per class, spread over three regions. Cameras and meters declare
 * hardware that this machine is not, so all they say carries `emulated: true`; gateways are what
 * this machine really is.
 */
import type { ProfileOverride } from "../../shared/devices/profile.ts";
import type { FleetDevice } from "../fleet/local-fleet.ts";

const camera: ProfileOverride = {
  architecture: "arm64",
  cpuModel: "Cortex-A76",
  cores: 4,
  isa: ["asimddp"],
  ramBytes: 4 * 2 ** 30,
  power: "mains",
};
const meter: ProfileOverride = {
  architecture: "arm",
  cpuModel: "Cortex-A7",
  cores: 1,
  isa: [],
  ramBytes: 512 * 2 ** 20,
  power: "battery",
  batteryFraction: 0.8,
};

export const demoDevices: readonly FleetDevice[] = [
  { id: "camera-1", region: "eu-west", labels: { role: "lab" }, override: camera },
  { id: "camera-2", region: "ap-south", labels: {}, override: camera },
  { id: "gateway-1", region: "eu-west", labels: { role: "lab" } },
  { id: "gateway-2", region: "us-east", labels: {} },
  { id: "meter-1", region: "us-east", labels: { role: "lab" }, override: meter },
  { id: "meter-2", region: "ap-south", labels: {}, override: meter },
];
