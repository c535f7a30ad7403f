/**
 * The operating system's own account of itself. systeminformation knows batteries on every platform;
 * processor and memory come from node:os, which starts no process.
 */
import { cpus, release, totalmem } from "node:os";
import systeminformation from "systeminformation";
import type { Inventory } from "./probe.ts";

/** `runtime` is what the installed onnxruntime says of itself. */
export async function systemInventory(
  runtime: Pick<Inventory, "onnxruntime" | "providers">,
): Promise<Inventory> {
  const battery = await systeminformation.battery();
  const processors = cpus();
  return {
    architecture: process.arch,
    platform: process.platform,
    kernel: release(),
    cpuModel: processors[0]?.model ?? "unknown",
    cores: Math.max(1, processors.length),
    ramBytes: totalmem(),
    battery: battery.hasBattery
      ? { present: true, onMains: battery.acConnected, fraction: battery.percent / 100 }
      : undefined,
    ...runtime,
  };
}
