/** Real child processes through node:child_process. */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { ChildHandle, Processes } from "../ports/processes.ts";

export function systemProcesses(): Processes {
  return {
    fork(entry, options = {}): ChildHandle {
      const child = fork(fileURLToPath(entry), [...(options.args ?? [])], {
        serialization: "advanced",
        stdio: ["ignore", "ignore", "inherit", "ipc"],
        env: { ...process.env, ...options.env },
      });
      let exited: { code: number | null; signal: string | null } | undefined;
      const exitHandlers: ((exit: { code: number | null; signal: string | null }) => void)[] = [];
      const leave = (code: number | null, signal: string | null) => {
        if (exited !== undefined) return;
        exited = { code, signal };
        for (const handler of exitHandlers) handler(exited);
      };
      child.on("exit", leave);
      // A failed spawn or a send to a dead child reports here; the exit handlers speak for both.
      child.on("error", () => leave(null, null));
      return {
        pid: child.pid,
        send: (message) => child.connected && child.send(message as object, () => {}),
        onMessage: (handler) => child.on("message", handler),
        onExit(handler) {
          if (exited === undefined) exitHandlers.push(handler);
          else handler(exited);
        },
        kill: (signal = "SIGTERM") => child.kill(signal),
      };
    },
  };
}
