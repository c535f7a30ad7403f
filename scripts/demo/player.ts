/** Starts and stops the input player, a process of its own. */
import { fork } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { LocalFleet } from "../fleet/local-fleet.ts";
import { demoDevices } from "./devices.ts";

export function startPlayer(fleet: LocalFleet): { stop(): void } {
  const entry = fileURLToPath(new URL("player-main.ts", import.meta.url));
  const folders = demoDevices.map(({ id }) => join(fleet.folder, id));
  const child = fork(entry, folders, { stdio: ["ignore", "ignore", "inherit", "ipc"] });
  return {
    stop() {
      child.kill("SIGKILL");
    },
  };
}
