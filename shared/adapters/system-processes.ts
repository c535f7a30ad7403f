/**
 * Real child processes through node:child_process.
 *
 * Invariant: on Linux a child does not outlive its parent, even when the parent is killed while the
 * child computes and cannot see that its channel closed: `setpriv` of util-linux (2.33 or newer) asks
 * the kernel to kill it (PR_SET_PDEATHSIG) and becomes Node. Where there is none, a child leaves when
 * it next looks at its channel. A watching thread would do the same everywhere for 16 MB per child.
 */
import { fork, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { ChildHandle, Processes } from "../ports/processes.ts";

const setpriv = "setpriv";
const dieWithParent = ["--pdeathsig", "KILL"];

export function systemProcesses(): Processes {
  const bound = spawnSync(setpriv, [...dieWithParent, "true"]).status === 0;
  const start = bound
    ? {
        execPath: setpriv,
        execArgv: [...dieWithParent, process.execPath, ...process.execArgv],
      }
    : {};
  return {
    fork(entry, options = {}): ChildHandle {
      const child = fork(fileURLToPath(entry), [...(options.args ?? [])], {
        ...start,
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
