/**
 * The operating system's own account of itself. systeminformation knows batteries on every platform;
 * processor and memory come from node:os, which starts no process.
 */
import { availableParallelism, cpus, release, totalmem } from "node:os";
import systeminformation from "systeminformation";
import type { Inventory } from "./probe.ts";

/** `runtime` is what the installed onnxruntime says of itself. */
export async function systemInventory(
  runtime: Pick<Inventory, "onnxruntime" | "providers">,
): Promise<Inventory> {
  const battery = await systeminformation.battery().catch(() => undefined);
  const processors = cpus();
  return {
    architecture: process.arch,
    platform: process.platform,
    kernel: release(),
    cpuModel: processors[0]?.model ?? "unknown",
    // What this process may use: a container is often given less than the machine has.
    cores: availableParallelism(),
    ramBytes: Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY),
    battery: battery?.hasBattery
      ? { present: true, onMains: battery.acConnected, fraction: battery.percent / 100 }
      : undefined,
    ...runtime,
  };
}
